"""Transactions and what they hold: the calls that programs make."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import clock, errors, wire
from .fence import Fence
from .lease import Branch, Lease, Request
from .wire import Code

if TYPE_CHECKING:
    from .session import Session

Name = str | bytes
Item = Name | tuple[Name, str]
EXCLUSIVE = "X"


class Grant:
    """One lock that is held, until `unlock`, the end of its transaction or that of its lease."""

    __slots__ = ("fence", "mode", "name", "parents", "site", "transaction", "_lease", "_released")

    def __init__(self, transaction: Transaction, lease: Lease, name: Name, mode: str, fence: Fence) -> None:
        self.transaction = transaction
        self.name = name
        self.mode = mode  #: as it was asked for
        self.fence = fence  #: for the resource: see FenceGuard
        self.site = wire.to_text(lease.link.site)  #: the agent's
        self.parents: tuple[Grant, ...] = ()  #: of a path: what its other parts are held by
        self._lease = lease
        self._released = False

    def __repr__(self) -> str:
        return f"<Grant {self.name!r} {self.mode} fence {self.fence} at {self.site}>"

    def remaining(self) -> float:
        """Seconds for which the lock is surely held if no renewal succeeds from now on; 0 when it is over. Reads the clock,
        asks nobody."""
        over = self._released or self.transaction.error is not None
        return 0.0 if over else self.transaction.session.remaining()

    def check(self) -> None:
        """Raises if the lock is surely held no longer: LeaseLost, Deadlock, Wounded, Forced, NotHeld. Reads the clock, asks
        nobody. A process may be paused right after it: the fence is for that."""
        self.transaction._check()
        if self._released:
            raise errors.NotHeld(f"{self.name!r} was unlocked")

    def unlock(self) -> None:
        self.transaction.unlock(self)


class Transaction:
    """Locks of one unit of work, at any of the agents, under one global id. Ends with its `with` block, whatever happens there.

    Thread-safe: calls of several threads are parallel branches. All calls raise LockError's subclasses: LeaseLost when the
    session is over, Unreachable when an agent does not answer, and after an abort that abort's error. A block that ends
    well raises the error of an abort that no call in it has raised: what it did was not protected to its end.
    """

    def __init__(self, session: Session, id: Name | None, start: float | None, priority: float, restarts: float, label: str,
                 strategy: str, on_aborted: Callable[[errors.LockError], None] | None) -> None:
        self.session = session
        self.id = wire.to_bytes(id) if id is not None else uuid.uuid4().hex.encode()
        if not 1 <= len(self.id) <= wire.TXN_BYTES_MAX:
            raise errors.Invalid(f"a transaction's id has 1 to {wire.TXN_BYTES_MAX} bytes, not {len(self.id)}")
        self.start = start if start is not None else time.time() * 1e6  #: first start, Unix microseconds
        self.error: errors.LockError | None = None  #: why all calls fail, if they do
        self._described = [self.id, self.start, priority, restarts, strategy, label]
        self._on_aborted = on_aborted
        self._reported = False  #: a call has raised `error`
        self._ended = False

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.end()
        if kind is None and self.error is not None and not self._reported:
            self._raise()

    def __repr__(self) -> str:
        return f"<Transaction {wire.to_text(self.id)}>"

    # --- Taking locks ---

    def lock(self, name: Name, mode: str = EXCLUSIVE, wait: float | None = None, *, site: str | None = None) -> Grant:
        """Blocks until it is granted. `wait`: seconds it may take, None without end, 0 at once or Refused. `site`: the agent's
        name, None the one to which the name belongs. Raises Timeout, Refused, Deadlock, …"""
        return self._lock_run(self._lease(name, site), [(name, mode)], wait)[0]

    def lock_all(self, items: Iterable[Item], wait: float | None = None) -> list[Grant]:
        """All of them or nothing, under one deadline, in one order for all callers. Items: names (mode X) or (name, mode).
        The grants in the order of `items`."""
        wanted = [(item, EXCLUSIVE) if isinstance(item, (str, bytes)) else item for item in items]
        if not 1 <= len(wanted) <= wire.ITEMS_MAX:
            raise errors.Invalid(f"a call names 1 to {wire.ITEMS_MAX} resources, not {len(wanted)}")
        order = sorted(range(len(wanted)), key=lambda place: wire.to_bytes(wanted[place][0]))
        end = None if wait is None else clock.now() + wait
        grants: dict[int, Grant] = {}
        try:
            for lease, run in itertools.groupby(order, key=lambda place: self._lease(wanted[place][0], None)):
                places = list(run)
                rest = None if end is None else max(0.0, end - clock.now())
                found = self._lock_run(lease, [wanted[place] for place in places], rest)
                grants.update(zip(places, found, strict=True))
        except BaseException:
            self._give_back(list(grants.values()))
            raise
        return [grants[place] for place in range(len(wanted))]

    def lock_path(self, path: Name, mode: str = EXCLUSIVE, wait: float | None = None) -> Grant:
        """The last part in `mode`, each part before it (`a` and `a/b` of `a/b/c`) in the intention mode that goes with it,
        wherever those live. All or nothing. `unlock` of what it returns undoes it all."""
        parts = path_parts(path)
        intention = self.session.client.modes.on_parents(mode)
        wanted: list[Item] = [] if intention is None else [(part, intention) for part in parts[:-1]]
        *parents, grant = self.lock_all([*wanted, (path, mode)], wait)
        grant.parents = tuple(parents)
        return grant

    def lock_some(self, items: Sequence[Item], need: int, wait: float | None = None, *, site: str | None = None) -> list[Grant]:
        """`need` of them, whichever are free first. All must live at one agent, else Invalid; `site` names it."""
        wanted = [(item, EXCLUSIVE) if isinstance(item, (str, bytes)) else item for item in items]
        leases = {self._lease(name, site) for name, _ in wanted}
        if len(leases) != 1:
            raise errors.Invalid(f"lock_some needs resources of one agent, these live at {len(leases)}: name a site")
        return self._lock_run(leases.pop(), wanted, wait, wire.SOME_ITEMS, need)

    def _lock_run(self, lease: Lease, items: Sequence[tuple[Name, str]], wait: float | None, scheme: int = wire.ALL_ITEMS,
                  need: int = 0) -> list[Grant]:
        wait_us = None if wait is None else max(0, round(wait * 1e6))
        for _, mode in items:
            if mode not in self.session.client.modes:
                raise errors.Invalid(f"there is no lock mode {mode!r}, only {', '.join(self.session.client.modes)}")
        fields = [self.id, self.start, wait_us, scheme, need, [[wire.to_bytes(name), mode] for name, mode in items]]
        request = self._call(lease, Code.LOCK, fields, wait)
        return [Grant(self, lease, *items[item], Fence(epoch, counter)) for item, epoch, counter in request.grants]

    # --- Giving them back ---

    def unlock(self, grant: Grant) -> None:
        """Undoes one grant: a lock that was taken twice is held once more. Raises NotHeld if it is held no longer."""
        self._take_back(grant)
        requests = [self._post_unlock(one) for one in (grant, *reversed(grant.parents))]
        for request in requests:
            self._wait(request)

    def downgrade(self, grant: Grant, mode: str) -> None:
        """Holds it in the weaker `mode` from now on."""
        self._check_grant(grant)
        self._call(grant._lease, Code.DOWNGRADE, [self.id, wire.to_bytes(grant.name), mode])
        grant.mode = mode

    def _check_grant(self, grant: Grant) -> None:
        if grant.transaction is not self:
            raise errors.Invalid(f"{grant.name!r} was granted to another transaction")
        grant.check()

    def _take_back(self, grant: Grant) -> None:
        with self.session.client.guard:
            self._check_grant(grant)
            for one in (grant, *grant.parents):
                one._released = True

    def _post_unlock(self, grant: Grant) -> Request:
        """An upgrade has given the resource a larger fence meanwhile: the agent compares with that one."""
        name = wire.to_bytes(grant.name)
        with self.session.client.calling():
            branch = grant._lease.branches.get(self, Branch())
            hold = branch.holds.get(name)
            return grant._lease.unlock(self, name, grant.fence if hold is None else hold.fence)

    def _give_back(self, grants: list[Grant]) -> None:
        """What a call that fails has taken already. Nobody waits for the answers."""
        for grant in grants:
            if self.error is None and not self._ended:
                self._take_back(grant)
                self._post_unlock(grant).abandoned = True

    def cancel(self) -> None:
        """Withdraws all requests that wait, from any thread: they raise Cancelled, unless they are granted before."""
        with self.session.client.calling():
            for lease in self.session.leases():
                for request in list(lease.pending.values()):
                    if request.txn is self and request.code is Code.LOCK:
                        lease.withdraw(request)

    def end(self) -> None:
        """Ends it: requests that wait are cancelled, all locks released everywhere. Blocks until the agents said so, or do not
        answer: then that goes on in the background, and their leases see to it at last. Raises nothing, also when repeated."""
        if self._ended or self.session.error is not None:
            self._ended = True
            return
        client = self.session.client
        with client.calling():
            self._ended = True
            self.session.forget(self)
            cancelled = errors.Cancelled(f"transaction {wire.to_text(self.id)} ended meanwhile")
            ends = [lease.end_txn(self, self.error or cancelled) for lease in self.session.leases()]
        limit = clock.now() + client.reply_limit
        for request in ends:
            if request is not None and request.lease.deadline is not None:  # else that agent has never answered
                request.event.wait(max(0.0, limit - clock.now()))

    def held(self) -> list[tuple[bytes, str, Fence]]:
        """Name, mode and fence of all that is held, as far as answers have come."""
        with self.session.client.guard:
            return [(name, hold.mode, hold.fence) for lease in self.session.leases() if self in lease.branches
                    for name, hold in lease.branches[self].holds.items()]

    # --- Inside ---

    def description(self) -> list[Any] | None:
        """The fields of `begin`, if there is more to say than id and start."""
        return self._described if any(self._described[2:]) else None

    def abort(self, error: errors.LockError) -> None:
        """An agent says that it is over. It is over everywhere, then. Under the client's lock."""
        if self.error is not None or self._ended:
            return
        self.error = error
        for lease in self.session.leases():
            lease.end_txn(self, error)
        if self._on_aborted is not None:
            self.session.client.tell(self._on_aborted, error)

    def lost(self, error: errors.LockError) -> None:
        """Its session is over. Under the client's lock."""
        self.error = error

    def _raise(self) -> None:
        assert self.error is not None
        self._reported = True
        raise self.error.again()

    def _check(self) -> None:
        """Raises if nothing may be asked for."""
        self.session.check_time()
        if self.error is not None:
            self._raise()
        self.session.check()
        if self._ended:
            raise errors.Invalid(f"transaction {wire.to_text(self.id)} has ended")

    def _lease(self, name: Name, site: str | None) -> Lease:
        data = wire.to_bytes(name)
        if not 1 <= len(data) <= wire.NAME_BYTES_MAX:
            raise errors.Invalid(f"a name has 1 to {wire.NAME_BYTES_MAX} bytes, not {len(data)}")
        return self.session.lease_at(data, site)

    def _call(self, lease: Lease, code: Code, fields: list[Any], wait: float | None = None) -> Request:
        with self.session.client.calling():
            self._check()
            self.session.client.check_room(lease)
            lease.branch(self)
            request = lease.post(Request(lease, code, self, fields))
        self._wait(request, wait)
        return request

    def _wait(self, request: Request, wait: float | None = None) -> None:
        """Until the final reply, or no answer, or the end of the lease. A request whose caller does not wait to the end is
        withdrawn."""
        began = clock.now()
        try:
            while True:
                end = self._patience(request, began, wait)
                if request.event.wait(None if end is None else max(0.0, end - clock.now())):
                    break
                if end == self._patience(request, began, wait):
                    self._give_up(request)
        except BaseException:
            with self.session.client.calling():
                request.lease.abandon(request)
            raise
        self.session.check_time()
        if self.error is not None:
            self._raise()
        if request.error is not None:
            raise request.error.again()

    def _patience(self, request: Request, began: float, wait: float | None) -> float | None:
        """Until when an answer is awaited. A lock that is known to wait without limit: as long as the lease lives."""
        if not request.answered:
            return began + self.session.client.reply_limit
        return None if wait is None else began + wait + self.session.client.reply_limit

    def _give_up(self, request: Request) -> None:
        link = request.lease.link
        said = f"; it said: {link.last_error}" if link.last_error else ""
        raise errors.Unreachable(f"{link.name} did not answer within {self.session.client.reply_limit:g} s{said}")


def path_parts(path: Name) -> Sequence[Name]:
    """`a/b/c`: `a`, `a/b`, `a/b/c`."""
    if isinstance(path, bytes):
        return [path[:place] for place, byte in enumerate(path) if byte == ord("/")] + [path]
    return [path[:place] for place, letter in enumerate(path) if letter == "/"] + [path]
