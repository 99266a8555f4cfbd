"""A session: one lease at every agent that its transactions use, renewed by itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import clock, errors, wire
from .lease import Lease
from .transaction import Name, Transaction

if TYPE_CHECKING:
    from .client import LockClient


class Session:
    """Made by LockClient.session. Thread-safe. Ends with its `with` block."""

    def __init__(self, client: LockClient, ttl: float, lock_delay: float, label: str,
                 on_jeopardy: Callable[[float], None] | None, on_lost: Callable[[errors.LockError], None] | None) -> None:
        if not 0.1 <= ttl <= 3600:
            raise errors.Invalid(f"a time to live is between 0.1 s and an hour, not {ttl:g} s")
        if lock_delay < 0:
            raise errors.Invalid(f"a lock-delay is not negative: {lock_delay:g} s")
        self.client = client
        self.ttl = ttl
        self.lock_delay = lock_delay
        self.label = label
        self.number = secrets.randbelow((1 << 63) - 1) + 1
        self.error: errors.LockError | None = None  #: why it is over, if it is
        self._on_jeopardy = on_jeopardy
        self._on_lost = on_lost
        self._leases: dict[bytes, Lease] = {}
        self._txns: dict[bytes, Transaction] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def transaction(self, id: Name | None = None, *, start: float | None = None, priority: float = 0, restarts: float = 0,
                    label: str = "", strategy: str = "",
                    on_aborted: Callable[[errors.LockError], None] | None = None) -> Transaction:
        """Begins one. Nothing is sent before its first lock.

        `id`: 1–128 bytes, the same at all databases that the transaction touches; None: one that nobody else has. `start`:
        first start in Unix microseconds (a restarted transaction keeps it). `priority`: lower is aborted first.
        `restarts`: how often it was a victim already. `strategy`: text, empty for the agents'. `on_aborted(error)` is
        called once when it is aborted, on a thread of its own.
        """
        with self.client.calling():
            self.check()
            txn = Transaction(self, id, start, priority, restarts, label, strategy, on_aborted)
            if txn.id in self._txns:
                raise errors.Invalid(f"the session has a transaction {wire.to_text(txn.id)} already")
            self._txns[txn.id] = txn
            return txn

    def remaining(self) -> float:
        """Seconds for which what it holds is surely its own if no renewal succeeds from now on; 0 when it is over. Before the
        first lock the whole time to live. Counts while the machine sleeps, too."""
        if self.error is not None:
            return 0.0
        ends = [lease.deadline for lease in self.leases() if lease.deadline is not None]
        return max(0.0, min(ends) - clock.now()) if ends else self.ttl

    def check(self) -> None:
        """Raises the error of a session that is over. Reads the clock, asks nobody."""
        self.check_time()
        if self.error is not None:
            raise self.error.again()

    def close(self) -> None:
        """Releases everything everywhere; blocks until the agents said so or do not answer. Raises nothing."""
        self.close_begin()
        limit = clock.now() + self.client.reply_limit
        for lease in self.leases():
            if lease.deadline is not None:  # else that agent has never answered
                lease.event.wait(max(0.0, limit - clock.now()))

    # --- Inside ---

    def leases(self) -> list[Lease]:
        return list(self._leases.values())

    def lease_at(self, name: bytes, site: str | None) -> Lease:
        """The lease at the agent of that name, made on first use."""
        with self.client.calling():
            self.check()
            link = self.client.link_of(name, site)
            found = self._leases.get(link.site)
            if found is None:
                found = self._leases[link.site] = link.lease(self, clock.now())
            return found

    def check_time(self) -> None:
        """The first use after a pause may come before the client's thread has seen that the lease is over."""
        now = clock.now()
        if self.error is None and any(lease.expired(now) for lease in self.leases()):
            with self.client.calling():
                for lease in self.leases():
                    if lease.expired(now):
                        lease.on_time(now)

    def lose(self, error: errors.LockError) -> None:
        """It is over at one agent, and so it is everywhere. Under the client's lock."""
        if self.error is not None:
            return
        self.client.counters["sessions_lost"] += 1
        self._end(error)
        if self._on_lost is not None:
            self.client.tell(self._on_lost, error)

    def close_begin(self) -> None:
        if self.error is None:
            with self.client.calling():
                self._end(errors.LeaseLost("the session was closed"))

    def _end(self, error: errors.LockError) -> None:
        self.error = error
        now = clock.now()
        for txn in list(self._txns.values()):
            if txn.error is None:
                txn.lost(error)
        for lease in self.leases():
            lease.fail(error)
            lease.close(now)
        self.client.forget(self)

    def aborted(self, txn: bytes, status: int, text: str, incident: str) -> None:
        """TxnAborted. Under the client's lock."""
        found = self._txns.get(txn)
        if found is not None:
            found.abort(errors.from_status(status, text, incident))

    def forget(self, txn: Transaction) -> None:
        self._txns.pop(txn.id, None)

    def tell_jeopardy(self, remaining: float) -> None:
        if self._on_jeopardy is not None:
            self.client.tell(self._on_jeopardy, remaining)
