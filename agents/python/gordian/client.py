"""The client: agents, sessions, and the thread that owns the sockets."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import clock, errors, modes, place, wire
from .lease import Lease
from .link import Link
from .reactor import Callbacks, Reactor
from .session import Session
from .transaction import Grant, Name

SESSIONS_MAX = 10_000
PENDING_MAX = 100_000  # requests without a final answer, of one session at one agent


class LockClient:
    """The connection of one process to one or more gordian-agents. Thread-safe; ends with its `with` block, or with the process.

    `agents`: an endpoint such as "tcp://127.0.0.1:7420", or {site: endpoint}. Resources are spread over the sites by
    rendezvous hashing; all clients must name the same sites. Returns before any agent was reached. `reply_limit`:
    seconds after which an agent that answers nothing is Unreachable. `matrix`: the agents' lock modes.

    One thread of its own renews leases; callbacks run on another one, one at a time. A process that was forked off needs
    a client of its own: this one raises ForkedClient there.
    """

    def __init__(self, agents: str | Mapping[str, str], *, label: str = "", reply_limit: float = 5.0,
                 matrix: modes.ModeMatrix = modes.STANDARD) -> None:
        endpoints = {agents: agents} if isinstance(agents, str) else dict(agents)
        if not endpoints:
            raise errors.Invalid("a client needs at least one agent")
        for site, endpoint in endpoints.items():
            if "://" not in endpoint:
                raise errors.Invalid(f"{site}: {endpoint!r} is no endpoint such as tcp://127.0.0.1:7420")
        self.label = label
        self.reply_limit = reply_limit
        self.modes = matrix
        self.guard = threading.RLock()  #: guards everything that sessions, leases and links have
        self.counters: dict[str, int] = {name: 0 for name in ("requests", "resent", "renewals", "reclaims", "sessions_lost")}
        self._timers = clock.Timers()
        self._links = {wire.to_bytes(site): Link(wire.to_bytes(site), endpoint, self._timers, self.counters)
                       for site, endpoint in endpoints.items()}
        self._sessions: dict[int, Session] = {}
        self._closed = False
        self._pid = os.getpid()
        self._callbacks = Callbacks()
        self._reactor = Reactor(list(self._links.values()), self._timers, self.guard, self._failed)
        _clients.add(self)

    def __enter__(self) -> LockClient:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def session(self, ttl: float = 10.0, *, lock_delay: float = 0.0, label: str | None = None,
                on_jeopardy: Callable[[float], None] | None = None,
                on_lost: Callable[[errors.LockError], None] | None = None) -> Session:
        """A lease. Nothing is sent before its first lock.

        `ttl`: seconds that the agents wait for a client that is silent, 0.1 to 3600. `lock_delay`: seconds for which its
        locks stay taken after the lease ran out. `on_jeopardy(remaining)`: renewals have failed for two thirds of the ttl;
        called once until one succeeds. `on_lost(error)`: it is over, and all its locks with it; not called after close().
        """
        with self.calling():
            if len(self._sessions) >= SESSIONS_MAX:
                raise errors.LimitReached(f"the client has {SESSIONS_MAX} sessions already")
            found = Session(self, ttl, lock_delay, self.label if label is None else label, on_jeopardy, on_lost)
            self._sessions[found.number] = found
            return found

    @contextlib.contextmanager
    def lock(self, name: Name, mode: str = "X", *, ttl: float = 10.0, wait: float | None = None,
             lock_delay: float = 0.0) -> Iterator[Grant]:
        """`with client.lock("orders/42", ttl=10) as grant:` — one lock with a session of its own. A block that ends well raises
        LeaseLost (or Deadlock, Forced) if the lock was lost in it, and nothing has said so yet."""
        with self.session(ttl, lock_delay=lock_delay) as session, session.transaction() as txn:
            yield txn.lock(name, mode, wait)

    def site_of(self, name: Name) -> str:
        """Which agent a resource belongs to."""
        return wire.to_text(place.rendezvous(self._links, wire.to_bytes(name)))

    def status(self) -> dict[str, int]:
        """Counters, for people and tests."""
        with self.guard:
            pending = sum(len(lease.pending) for link in self._links.values() for lease in link.leases.values())
            return {**self.counters, "sessions": len(self._sessions), "pending": pending}

    def close(self) -> None:
        """Closes all sessions; blocks until the agents said so or do not answer (at most a second), and ends the threads."""
        if os.getpid() != self._pid or self._closed:
            return
        limit = clock.now() + min(1.0, self.reply_limit)
        with self.guard:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close_begin()
        with self.guard:
            leases = [lease for link in self._links.values() for lease in link.leases.values()]
        for lease in leases:
            lease.event.wait(max(0.0, limit - clock.now()))
        self._closed = True
        self._reactor.stop()
        self._callbacks.stop()
        _clients.discard(self)

    # --- Inside ---

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """A caller changes something: under the lock, and the thread with the sockets looks at it afterwards."""
        if os.getpid() != self._pid:
            raise errors.ForkedClient(f"this client belongs to process {self._pid}; make one of your own in process {os.getpid()}")
        if self._closed:
            raise errors.Invalid("the client was closed")
        with self.guard:
            yield
        self._reactor.wake()

    def _failed(self, error: BaseException) -> None:
        with self.guard:
            for session in list(self._sessions.values()):
                session.lose(errors.LeaseLost(f"the client's thread failed, nothing is renewed: {error!r}"))

    def link_of(self, name: bytes, site: str | None) -> Link:
        wanted = place.rendezvous(self._links, name) if site is None else wire.to_bytes(site)
        link = self._links.get(wanted)
        if link is None:
            raise errors.Invalid(f"there is no site {site!r}, only {', '.join(map(wire.to_text, self._links))}")
        return link

    def check_room(self, lease: Lease) -> None:
        if len(lease.pending) >= PENDING_MAX:
            raise errors.LimitReached(f"{PENDING_MAX} requests have no answer yet")

    def forget(self, session: Session) -> None:
        self._sessions.pop(session.number, None)

    def tell(self, callback: Callable[[Any], None], argument: Any) -> None:
        self._callbacks.tell(callback, argument)


_clients: weakref.WeakSet[LockClient] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A process that ends well leaves no lock to its lease."""
    for client in list(_clients):
        client.close()
