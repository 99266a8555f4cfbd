"""A session at one agent: its deadline, its requests, and what its transactions hold there.

Everything here is guarded by the client's lock; nothing blocks. A link (link.py) brings messages and takes them away.
"""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, Any

from . import clock, errors, wire
from .fence import Fence

if TYPE_CHECKING:
    from .link import Link
    from .session import Session
    from .transaction import Transaction

RESEND_FIRST = 0.5  # seconds without a reply; doubles up to a third of the ttl


class Hold:
    """One resource that a transaction holds at one agent."""

    __slots__ = ("count", "fence", "mode")

    def __init__(self, mode: str, fence: Fence) -> None:
        self.mode = mode
        self.fence = fence
        self.count = 1


class Branch:
    """A transaction at one agent."""

    __slots__ = ("first", "holds")

    def __init__(self, first: int = 0) -> None:
        self.first = first  #: the number of the first request there
        self.holds: dict[bytes, Hold] = {}


class Request:
    """One numbered request, from its first sending to its final reply."""

    __slots__ = ("abandoned", "answered", "body", "code", "due", "error", "event", "fields", "former", "grants", "interval", "lease", "number",
                 "queued", "times", "txn")

    def __init__(self, lease: Lease, code: wire.Code, txn: Transaction, fields: list[Any]) -> None:
        self.lease = lease
        self.code = code
        self.txn = txn
        self.fields = fields  #: behind the four that every request has
        self.number = 0
        self.body = b""
        self.due: float | None = None
        self.interval = RESEND_FIRST
        self.times = 0  #: it was sent
        self.queued = False  #: in the link's outbox
        self.answered = False  #: `waiting`, at least
        self.abandoned = False  #: nobody waits for it any more
        self.former = False  #: it gave something back before the agent was started again; here that is done already
        self.grants: list[list[int]] = []
        self.error: errors.LockError | None = None
        self.event = threading.Event()  #: its caller may go on

    def on_time(self, now: float) -> None:
        self.lease.send(self)

    def sent(self, now: float) -> None:
        third = self.lease.ttl / 3
        self.lease.link.timers.set(self, now + (third if self.answered else min(self.interval, third)))
        self.interval *= 2
        self.times += 1

    @property
    def final(self) -> bool:
        return self.number not in self.lease.pending

    def items(self) -> list[tuple[bytes, str]]:
        """Of a lock request: what it asks for."""
        return [(name, mode) for name, mode in self.fields[-1]]


class State(enum.Enum):
    """How far a lease has come."""

    OPENING = "opening"  #: OpenSession has no answer yet; after a restart of the agent again
    OPEN = "open"
    CLOSING = "closing"  #: CloseSession has no answer yet
    OVER = "over"


class Lease:
    """Of one session at one agent."""

    def __init__(self, session: Session, link: Link) -> None:
        self.session = session
        self.link = link
        self.state = State.OPENING
        self.ttl: float = session.ttl  #: as the agent has it
        self.due: float | None = None
        self.deadline: float | None = None  #: none before the agent has opened it
        self.base = 0.0  #: when the last message was sent that renewed it
        self.incarnation: int | None = None
        self.round_sent: float | None = None  #: when OpenSession was first sent since its last answer
        self.renew_at = 0.0
        self.interval = RESEND_FIRST
        self.retry_at = 0.0  #: OpenSession or CloseSession again
        self.close_until = 0.0
        self.in_jeopardy = False
        self.reclaiming = 0  #: reclaims without a reply: everything else has to wait for them
        self.pending: dict[int, Request] = {}  #: ascending
        self.branches: dict[Transaction, Branch] = {}
        self.last_number = 0
        self.event = threading.Event()  #: it is over

    # --- Time ---

    def start(self, now: float) -> None:
        """OpenSession goes out next; again, if the agent was started again."""
        self.state = State.OPENING
        self.round_sent = None
        self.interval = RESEND_FIRST
        self.reclaiming = 0
        self.link.timers.set(self, now)

    def on_time(self, now: float) -> None:
        if self.state is State.OVER:
            return
        if self.state is State.CLOSING:
            if now >= self.close_until:
                self.end()
                return
            self.link.closes[self] = None
        elif self.expired(now):
            self.session.lose(errors.LeaseLost(
                f"the lease at {self.link.name} ran out: no renewal was answered for {now - self.base:.3g} s (ttl "
                f"{self.ttl:g} s); whatever was locked may be another's now"))
            return
        elif self.state is State.OPENING:
            self.link.opens[self] = None
        elif now >= self.renew_at:
            self.link.renewals[self] = None
        self._look_at_jeopardy(now)
        self.set_timer()

    def _look_at_jeopardy(self, now: float) -> None:
        if self.deadline is None or self.in_jeopardy or self.state is State.CLOSING:
            return
        if now >= self.base + self.ttl * 2 / 3:
            self.in_jeopardy = True
            self.session.tell_jeopardy(self.deadline - now)

    def sent(self, now: float) -> None:
        """OpenSession or CloseSession went out."""
        third = self.ttl / 3
        self.retry_at = now + min(self.interval, third)
        self.interval *= 2
        self.set_timer()

    def set_timer(self) -> None:
        """The next of: sending again, jeopardy, the deadline. A message that cannot go out stays with the link."""
        waits_for_link = self in self.link.opens or self in self.link.renewals or self in self.link.closes
        times = [] if waits_for_link else [self.renew_at if self.state is State.OPEN else self.retry_at]
        if self.state is State.CLOSING:
            times.append(self.close_until)
        elif self.deadline is not None:
            times.append(self.deadline)
            if not self.in_jeopardy:
                times.append(self.base + self.ttl * 2 / 3)
        self.link.timers.set(self, min(times, default=None))

    def expired(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def renewed(self, sent: float, now: float) -> None:
        """A message that was sent at `sent` has renewed it."""
        end = clock.lease_end(sent, self.ttl)
        if self.deadline is None or end > self.deadline:
            self.deadline, self.base = end, sent
        if now < self.base + self.ttl * 2 / 3:
            self.in_jeopardy = False
        self.renew_at = max(self.base + self.ttl / 3, now)
        self.set_timer()

    # --- Requests ---

    def post(self, request: Request) -> Request:
        """Numbers it and sends it as soon as may be."""
        self.last_number += 1
        request.number = self.last_number
        done_below = next(iter(self.pending), request.number)
        request.body = wire.pack([int(request.code), self.session.number, request.number, done_below, *request.fields])
        self.pending[request.number] = request
        self.send(request)
        return request

    def send(self, request: Request) -> None:
        """Now, or when the agent has opened the session and taken back what was held (then send_all does it)."""
        opened_before = self.deadline is not None
        if self.state is State.OPENING and opened_before:
            return
        if self.reclaiming and request.code not in (wire.Code.RECLAIM, wire.Code.BEGIN):
            return
        if request.number in self.pending and not request.queued:
            request.queued = True
            self.link.outbox.append(request)

    def send_all(self) -> None:
        for request in self.pending.values():
            self.send(request)

    def branch(self, txn: Transaction) -> Branch:
        """What `txn` has here. The first time the agent is told what there is to say of it."""
        found = self.branches.get(txn)
        if found is None:
            found = self.branches[txn] = Branch(self.last_number + 1)
            self._describe(txn)
        return found

    def is_former(self, txn: bytes, request: int) -> bool:
        """Whether an abort after that request was of a life of that name before this one. 0: the agent does not say."""
        return request != 0 and not any(known.id == txn and request >= branch.first for known, branch in self.branches.items())

    def _describe(self, txn: Transaction) -> None:
        description = txn.description()
        if description is not None:
            request = Request(self, wire.Code.BEGIN, txn, description)
            request.abandoned = True
            self.post(request)

    def reply(self, number: int, status: int, grants: list[list[int]], text: str, incident: str, now: float) -> None:
        request = self.pending.get(number)
        if request is None:
            return  # known already
        if status == wire.WAITING:
            request.answered = True
            if not request.queued:
                self.link.timers.set(request, now + self.ttl / 3)
            if request.abandoned:
                self.withdraw(request)  # it came after its cancel
            return
        if status != wire.DONE and not (request.former and status == wire.NOT_HELD):
            request.error = errors.from_status(status, text, incident)
        request.grants = grants
        self.finish(request)
        if request.error is not None and request.error.aborts and request.code is not wire.Code.END:
            request.txn.abort(request.error)

    def finish(self, request: Request) -> None:
        """It has its final reply, or what counts as one."""
        del self.pending[request.number]
        self.link.timers.set(request, None)
        if request.error is None and not request.former:
            self._carry_out(request)
        request.event.set()
        if request.code is wire.Code.RECLAIM:
            self._reclaimed()

    def _reclaimed(self) -> None:
        self.reclaiming -= 1
        if not self.reclaiming:
            self.send_all()

    def _carry_out(self, request: Request) -> None:
        """What a request that is done changes."""
        branch = self.branches.get(request.txn)
        if branch is None:
            return
        if request.code is wire.Code.LOCK:
            self._hold(request, branch)
        elif request.code is wire.Code.UNLOCK:
            self._let_go(branch, request.fields[1])
        elif request.code is wire.Code.DOWNGRADE:
            hold = branch.holds.get(request.fields[1])
            if hold is not None:
                hold.mode = request.fields[2]
        elif request.code is wire.Code.END:
            del self.branches[request.txn]

    def _hold(self, request: Request, branch: Branch) -> None:
        items = request.items()
        for item, epoch, counter in request.grants:
            name, mode = items[item]
            fence = Fence(epoch, counter)
            hold = branch.holds.get(name)
            if hold is None:
                branch.holds[name] = Hold(mode, fence)
            else:
                hold.mode = self.session.client.modes.join(hold.mode, mode)
                hold.fence = fence
                hold.count += 1
            if request.abandoned:
                self.unlock(request.txn, name, fence).abandoned = True

    def unlock(self, txn: Transaction, name: bytes, fence: Fence) -> Request:
        return self.post(Request(self, wire.Code.UNLOCK, txn, [txn.id, name, *fence, False]))

    @staticmethod
    def _let_go(branch: Branch, name: bytes) -> None:
        hold = branch.holds.get(name)
        if hold is not None:
            hold.count -= 1
            if not hold.count:
                del branch.holds[name]

    def abandon(self, request: Request) -> None:
        """Its caller has given it up: it is withdrawn, and undone should it be granted all the same."""
        if request.final or request.abandoned:
            return
        request.abandoned = True
        if request.code is wire.Code.LOCK:
            self.withdraw(request)

    def withdraw(self, request: Request) -> None:
        """Sends `cancel`; the request's own reply says what became of it."""
        if any(other.code is wire.Code.CANCEL and other.fields[0] == request.number for other in self.pending.values()):
            return
        cancel = Request(self, wire.Code.CANCEL, request.txn, [request.number])
        cancel.abandoned = True
        self.post(cancel)

    def end_txn(self, txn: Transaction, error: errors.LockError) -> Request | None:
        """Sends `end`. What the transaction still waits for here ends with `error`, and is not sent again: it would begin
        the transaction anew."""
        branch = self.branches.get(txn)
        if branch is None or self.state in (State.CLOSING, State.OVER):
            return None
        branch.holds.clear()
        ends = [request for request in self.pending.values() if request.txn is txn and request.code is wire.Code.END]
        if ends:
            return ends[0]
        self._fail([request for request in self.pending.values() if request.txn is txn], error)
        return self.post(Request(self, wire.Code.END, txn, [txn.id]))

    # --- Messages ---

    def opened(self, incarnation: int, ttl: float, now: float) -> None:
        if self.state is not State.OPENING or self.round_sent is None:
            return  # the answer to an OpenSession that was sent twice
        first = self.deadline is None
        self.incarnation = incarnation
        self.state = State.OPEN
        self.interval = RESEND_FIRST
        self.link.opens.pop(self, None)
        self.ttl = min(ttl, self.ttl)
        self.renewed(self.round_sent, now)
        self.round_sent = None
        if not first:
            self._reclaim()
            self.send_all()

    def _reclaim(self) -> None:
        for txn, branch in list(self.branches.items()):
            if txn.error is not None:
                del self.branches[txn]  # it is over, and this agent has never heard of it
                continue
            self._describe(txn)
            if branch.holds:
                holds = [[name, hold.mode, hold.count, *hold.fence] for name, hold in branch.holds.items()]
                self.reclaiming += 1
                self.session.client.counters["reclaims"] += 1
                self.post(Request(self, wire.Code.RECLAIM, txn, [txn.id, txn.start, holds]))

    def restarted(self, now: float) -> None:
        """The agent was started again, or knows the session no longer: open it again and take back what is held."""
        if self.state is not State.OPEN or self.expired(now):
            return
        self.start(now)
        dropped = (wire.Code.CANCEL, wire.Code.BEGIN, wire.Code.RECLAIM)
        for request in list(self.pending.values()):
            if request.code is wire.Code.DOWNGRADE or (request.code is wire.Code.UNLOCK and self._held(request) > 1):
                self.finish(request)  # so much less is claimed: that is as good as done
            elif request.code in (wire.Code.UNLOCK, wire.Code.END):
                self._ask_again(request)
                if not request.former:
                    self._carry_out(request)  # it is not claimed, but an agent with a journal still has it
                request.former = True
            elif request.code in dropped or request.abandoned:
                self._fail([request], errors.Cancelled("the agent was started again"))
            else:
                self._ask_again(request)
        self.link.drop(self)

    @staticmethod
    def _ask_again(request: Request) -> None:
        request.answered = False
        request.interval = RESEND_FIRST
        request.queued = False

    def _held(self, request: Request) -> int:
        """How often the lock that an unlock gives back is held."""
        branch = self.branches.get(request.txn)
        hold = branch.holds.get(request.fields[1]) if branch else None
        return hold.count if hold else 0

    def ended(self, why: int, text: str, now: float) -> None:
        """SessionEnded."""
        if self.state is State.CLOSING:
            self.end()
        elif why == wire.Ended.UNKNOWN:
            self.restarted(now)  # or OpenSession got lost: then it is sent again in time
        elif why == wire.Ended.REFUSED and self.deadline is None:
            self.session.lose(errors.Invalid(f"{self.link.name} refused the session: {text}"))
        else:
            reasons: dict[int, str] = {wire.Ended.EXPIRED: "the lease ran out", wire.Ended.CLOSED: "the session was closed"}
            reason = text or reasons.get(why, "the session is over")
            self.session.lose(errors.LeaseLost(f"{self.link.name}: {reason}"))

    # --- The end ---

    def fail(self, error: errors.LockError) -> None:
        """Every request ends with `error`; nothing is held."""
        self._fail(list(self.pending.values()), error)
        self.branches.clear()
        self.reclaiming = 0

    def _fail(self, requests: list[Request], error: errors.LockError) -> None:
        for request in requests:
            request.error = error
            del self.pending[request.number]
            self.link.timers.set(request, None)
            request.event.set()
            if request.code is wire.Code.RECLAIM and self.state is State.OPEN:
                self._reclaimed()

    def close(self, now: float) -> None:
        """CloseSession, for as long as the agent may know of the session."""
        if self.state in (State.CLOSING, State.OVER):
            return
        self.link.opens.pop(self, None)
        self.link.renewals.pop(self, None)
        if self.deadline is None and self.round_sent is None:
            self.end()  # the agent has never heard of it
            return
        self.state = State.CLOSING
        self.interval = RESEND_FIRST
        self.close_until = now + self.ttl
        self.link.timers.set(self, now)

    def end(self) -> None:
        self.state = State.OVER
        self.link.forget(self)
        self.event.set()
