"""What goes to one agent and what comes from it. The reactor (reactor.py) has the socket and the time.

Guarded by the client's lock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import clock, wire
from .lease import Lease, Request, State
from .wire import Kind

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger("gordian")
STAMPS_MAX = 64  # renewals without an answer that are remembered


class Link:
    """To one agent."""

    def __init__(self, site: bytes, endpoint: str, timers: clock.Timers, counters: dict[str, int]) -> None:
        self.site = site
        self.endpoint = endpoint
        self.timers = timers
        self.counters = counters
        self.name = endpoint if wire.to_text(site) == endpoint else f"{wire.to_text(site)} ({endpoint})"
        self.leases: dict[int, Lease] = {}
        self.outbox: deque[Request] = deque()
        self.opens: dict[Lease, None] = {}
        self.closes: dict[Lease, None] = {}
        self.renewals: dict[Lease, None] = {}
        self.last_error = ""  #: the agent's last message Error: it does not say what it is about
        self._stamps: dict[int, tuple[float, list[Lease]]] = {}
        self._stamp = 0
        self._incarnation: int | None = None

    def lease(self, session: Session, now: float) -> Lease:
        """The session's lease here; OpenSession goes out with the first request."""
        found = self.leases.get(session.number)
        if found is None:
            found = self.leases[session.number] = Lease(session, self)
            found.start(now)
        return found

    def forget(self, lease: Lease) -> None:
        self.leases.pop(lease.session.number, None)
        for waiting in (self.opens, self.closes, self.renewals):
            waiting.pop(lease, None)
        self.timers.set(lease, None)

    def drop(self, lease: Lease) -> None:
        """Nothing of it goes out before it is open again."""
        self.renewals.pop(lease, None)
        self.outbox = deque(request for request in self.outbox if request.lease is not lease)

    # --- Out ---

    def flush(self, send: Callable[[bytes], bool]) -> bool:
        """Gives all that is to be sent to `send`; false once that refuses: then the rest stays for later."""
        return (self._flush_closes(send) and self._flush_opens(send) and self._flush_renewals(send)
                and self._flush_requests(send))

    def _flush_closes(self, send: Callable[[bytes], bool]) -> bool:
        for lease in list(self.closes):
            if not send(wire.message(Kind.CLOSE_SESSION, lease.session.number)):
                return False
            del self.closes[lease]
            lease.sent(clock.now())
        return True

    def _flush_opens(self, send: Callable[[bytes], bool]) -> bool:
        for lease in list(self.opens):
            session = lease.session
            began = clock.now()
            if not send(wire.message(Kind.OPEN_SESSION, session.number, round(session.ttl * 1000), round(session.lock_delay * 1000),
                                     session.label)):
                return False
            if lease.round_sent is None:
                lease.round_sent = began  # an answer does not say to which of several it belongs: the first one is safe
            del self.opens[lease]
            lease.sent(began)
        return True

    def _flush_renewals(self, send: Callable[[bytes], bool]) -> bool:
        while self.renewals:
            leases = list(self.renewals)[:wire.RENEWALS_MAX]
            self._stamp += 1
            began = clock.now()
            if not send(wire.message(Kind.RENEW, self._stamp, [lease.session.number for lease in leases])):
                return False
            self._stamps[self._stamp] = (began, leases)
            while len(self._stamps) > STAMPS_MAX:
                del self._stamps[next(iter(self._stamps))]
            self.counters["renewals"] += len(leases)
            for lease in leases:
                del self.renewals[lease]
                lease.renew_at = began + lease.ttl / 10  # unless an answer comes
                lease.set_timer()
        return True

    def _flush_requests(self, send: Callable[[bytes], bool]) -> bool:
        waiting = [request for request in self.outbox if not request.final]
        self.outbox.clear()
        taken = 0
        for count, message in wire.batches([request.body for request in waiting]):
            if not send(message):
                self.outbox.extend(waiting[taken:])
                return False
            now = clock.now()
            for request in waiting[taken:taken + count]:
                request.queued = False
                self.counters["resent" if request.times else "requests"] += 1
                request.sent(now)
            taken += count
        return True

    # --- In ---

    def receive(self, frame: bytes, now: float) -> None:
        """One message. What is not understood is logged and passed over."""
        try:
            kind, fields = wire.parse(frame)
            handler = self._HANDLERS.get(kind)
            if handler is not None:
                handler(self, fields, now)
        except (ValueError, TypeError, IndexError) as error:
            log.warning("%s: a message that makes no sense was passed over: %s", self.name, error)

    def _session_opened(self, fields: list[Any], now: float) -> None:
        number, incarnation, ttl_ms = fields[:3]
        self._look_at_incarnation(incarnation, now)
        lease = self.leases.get(number)
        if lease is not None:
            lease.opened(incarnation, ttl_ms / 1000, now)

    def _renewed(self, fields: list[Any], now: float) -> None:
        stamp, incarnation, unknown = fields[:3]
        sent, leases = self._stamps.pop(stamp, (0.0, []))
        self._look_at_incarnation(incarnation, now)
        over = set(unknown)
        for lease in leases:
            if lease.session.number in over:
                lease.ended(wire.Ended.UNKNOWN, "", now)
            elif lease.state is State.OPEN and lease.incarnation == incarnation:
                lease.renewed(sent, now)

    def _look_at_incarnation(self, incarnation: int, now: float) -> None:
        if incarnation == self._incarnation:
            return
        self._incarnation = incarnation
        for lease in list(self.leases.values()):
            if lease.incarnation not in (None, incarnation):
                lease.restarted(now)

    def _session_ended(self, fields: list[Any], now: float) -> None:
        number, why, text = fields[:3]
        lease = self.leases.get(number)
        if lease is not None:
            lease.ended(why, wire.to_text(text), now)

    def _replies(self, fields: list[Any], now: float) -> None:
        for number, request, status, grants, text, incident, *_ in fields[0]:
            lease = self.leases.get(number)
            if lease is not None:
                lease.reply(request, status, grants, wire.to_text(text), wire.to_text(incident), now)

    def _txn_aborted(self, fields: list[Any], now: float) -> None:
        number, txn, status, text, incident = fields[:5]
        lease = self.leases.get(number)
        request = fields[5] if len(fields) > 5 else 0
        if lease is not None and not lease.is_former(wire.to_bytes(txn), request):
            lease.session.aborted(wire.to_bytes(txn), status, wire.to_text(text), wire.to_text(incident))

    def _error(self, fields: list[Any], now: float) -> None:
        self.last_error = wire.to_text(fields[1])
        log.error("%s refused a message: %s", self.name, self.last_error)

    _HANDLERS: dict[int, Callable[[Link, list[Any], float], None]] = {
        Kind.SESSION_OPENED: _session_opened,
        Kind.RENEWED: _renewed,
        Kind.SESSION_ENDED: _session_ended,
        Kind.REPLIES: _replies,
        Kind.TXN_ABORTED: _txn_aborted,
        Kind.ERROR: _error,
    }
