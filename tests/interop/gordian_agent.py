"""A Gordian agent in Python, written from docs/protocol.md alone.

Session is the protocol: time, frames and what the engine reports go in, frames come out; it has no socket, thread or
clock. Agent drives one with a ZeroMQ socket and a thread. The engine is whoever has the locks, e.g. lock_table.py.
"""

import contextlib
import dataclasses
import json
import secrets
import socket
import threading
import time

import msgpack
import zmq

VERSION = 1
HELLO, HEARTBEAT, DELTA, SNAPSHOT, CONFIRMED, ABORTED, GOODBYE = range(1, 8)
WELCOME, HEARTBEAT_ACK, RESYNC, CONFIRM, ABORT, ERROR, REORDER = range(17, 24)
QUERY, ANSWER = 32, 33
WAIT, END, TRANSACTION, FORGET, GROUP, JOIN, LEAVE, END_GROUP = range(8)  # changes
MALFORMED, WRONG_VERSION, TOO_LARGE, UNKNOWN_SESSION, DUPLICATE_SITE, STALE_INCARNATION, TOO_MANY_SITES, WAIT_A_MOMENT = range(1, 9)
DONE, STALE, FAILED, REFUSED = range(4)  # outcomes of an order
WAITING, HOLDING = range(2)  # roles of a victim

HELLO_INTERVAL_S = 0.25
RETRY_S = 1.0  # after a refusal that may pass
CHANGES_MAX = 20_000
PART_BYTES = 1 << 20  # of a snapshot; a message may have 4 MiB
BLOCKERS_MAX = 10_000
REMEMBERED_ORDERS = 1000


def encode(*fields):
    return msgpack.packb([VERSION, *fields], unicode_errors="surrogateescape")


def decode(frame):
    """Type and fields of a frame; ValueError if it is none of this version."""
    message = msgpack.unpackb(frame, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    if not isinstance(message, list) or len(message) < 2 or message[0] != VERSION:
        raise ValueError(f"not a message of version {VERSION}: {message!r}")
    return message[1], message[2:]


@dataclasses.dataclass
class Order:
    """An Abort, as the engine sees it."""

    order: int
    incident: str
    victim: str
    sequence: int
    role: int
    attempt: int
    grace_ms: int
    reason: str


@dataclasses.dataclass
class Wait:
    waiter: str
    resource: str
    mode: str
    began: float
    since: dict = dataclasses.field(default_factory=dict)  # hard blocker -> number of the message that first named it
    soft: dict = dataclasses.field(default_factory=dict)  # the same for those queued ahead of it
    need: int = 0  # how many of its hard blockers must let go; 0: all
    set_since: int = 0  # number of the message that first named exactly these blockers with this need
    groups: tuple = ()
    published: int = 0  # number of the message that first named it; 0: none did


@dataclasses.dataclass
class Group:
    resource: str
    mode: str
    since: dict = dataclasses.field(default_factory=dict)  # member -> number of the message that first reported it
    published: bool = False  # while a published wait names it


class Session:
    """One agent's side of the protocol.

    `abort(order)` is called while the order's condition holds; it must carry it out before it returns, reporting what
    changed by end_wait() and set_blockers(), and returns (outcome, text). So is `reorder(sequence, blocker)`, which lets that
    wait go ahead of a request that is queued before it; without it the engine's queues are not reordered.
    """

    def __init__(self, site, incarnation, abort, publish_after=0.0, resolve_local_deadlocks=True, reorder=None):
        self.site = site
        self.incarnation = incarnation
        self.instance = secrets.token_hex(8)
        self.epoch = 0
        self.open = False
        self.number = 0
        self.applied = 0
        self.errors = []  # [code, text, number] of every Error, for whoever wants to know
        self._abort = abort
        self._reorder = reorder
        self._publish_after = publish_after
        self._resolve_local_deadlocks = resolve_local_deadlocks
        self._heartbeat_s = self._lease_s = None
        self._heard = self._next_hello = self._next_heartbeat = 0.0
        self._last_sequence = 0
        self._waits = {}
        self._last_group = 0
        self._groups = {}
        self._transactions = {}
        self._carried_out = {}  # (incident, victim, role) or (incident, sequence, blocker) -> the answer, for orders that are given again
        self._snapshot_due = True
        self._forget_pending()

    # What the engine reports.

    def begin_wait(self, now, waiter, blockers, soft=(), resource="", mode="X", groups=(), need=0):
        """A new episode of waiting; its sequence."""
        self._last_sequence += 1
        self._waits[self._last_sequence] = Wait(waiter, resource, mode, now, groups=tuple(groups))
        self.set_blockers(self._last_sequence, blockers, soft, need=need)
        return self._last_sequence

    def set_blockers(self, sequence, blockers, soft=(), retaken=(), need=0):
        """Whom it waits for now. `retaken`: those that let go and took the lock again since the last report. `need`: for so
        many of them, 0 for all; then `soft` is empty."""
        wait = self._waits[sequence]
        before = wait.since, wait.need
        unchanged = {blocker: since for blocker, since in wait.since.items() if blocker not in retaken}
        blockers = [blocker for blocker in blockers if blocker != wait.waiter][:BLOCKERS_MAX]
        wait.since = {blocker: unchanged.get(blocker, self.number + 1) for blocker in blockers}
        soft = [blocker for blocker in soft if blocker != wait.waiter][:BLOCKERS_MAX - len(blockers)]
        wait.soft = {blocker: wait.soft.get(blocker, self.number + 1) for blocker in soft}
        wait.need = min(need, len(blockers))
        if (wait.since, wait.need) != before:
            wait.set_since = self.number + 1
        self._changed[sequence] = None

    def end_wait(self, sequence):
        wait = self._waits.pop(sequence)
        self._changed.pop(sequence, None)
        if wait.published:
            self._ended.append([END, sequence])
        for number in set(wait.groups) - self._named(self._waits.values()):
            if self._groups[number].published:
                self._groups[number].published = False
                self._joined = {key: change for key, change in self._joined.items() if key[0] != number}
                self._ended.append([END_GROUP, number])

    def begin_group(self, resource="", mode="X"):
        """The holders of a resource in a mode; its number. Told of while a published wait names it."""
        self._last_group += 1
        self._groups[self._last_group] = Group(resource, mode)
        return self._last_group

    def join_group(self, number, txn):
        """It is a member from now on; if it was one, it let go and took the lock again."""
        group = self._groups[number]
        group.since[txn] = self.number + 1
        if group.published:
            self._joined[number, txn] = [JOIN, number, txn]

    def leave_group(self, number, txn):
        group = self._groups[number]
        if group.since.pop(txn, None) is not None and group.published:
            self._joined.pop((number, txn), None)
            self._ended.append([LEAVE, number, txn])

    def describe(self, txn, start=None, priority=0, locks=0, work=0, restarts=0, never_a_victim=False, label=""):
        self._transactions[txn] = [TRANSACTION, txn, start, priority, locks, work, restarts, int(never_a_victim), label]
        self._described[txn] = None

    def forget(self, txn):
        """The transaction is over at this site."""
        for sequence in [sequence for sequence, wait in self._waits.items() if wait.waiter == txn]:
            self.end_wait(sequence)
        self._transactions.pop(txn, None)
        self._described.pop(txn, None)
        self._forgotten.append([FORGET, txn])

    def standing(self, sequence):
        """The wait of that sequence, or None once it is over."""
        return self._waits.get(sequence)

    # Time.

    def tick(self, now):
        """The frames that are due by now. Call it often, and after every report."""
        frames = []
        if self.open and now - self._heard > self._lease_s:
            self._close(now)
        if not self.open and now >= self._next_hello:
            self._next_hello = now + HELLO_INTERVAL_S
            frames.append(self._hello())
        frames += self._flush(now)
        if self.open and now >= self._next_heartbeat:
            self._next_heartbeat = now + self._heartbeat_s
            frames.append(encode(HEARTBEAT, self.incarnation, self.number))
        return frames

    def lost(self):
        """A frame could not be sent."""
        self._snapshot_due = True

    def goodbye(self):
        return [encode(GOODBYE, self.incarnation)] if self.open else []

    def _hello(self):
        return encode(HELLO, self.site, self.incarnation, self.instance, self.epoch, self._resolve_local_deadlocks,
                      "python", "tests/interop", "gordian_agent.py")

    def _close(self, hello_at):
        self.open = False
        self._snapshot_due = True
        self._next_hello = hello_at

    # Deltas and snapshots.

    def _flush(self, now):
        if not self.open:
            return []
        if self._snapshot_due:
            return self._snapshot(now)
        waits = [sequence for sequence in self._changed if self._due(self._waits[sequence], now)]
        # Ends and forgets come first: an id that is used again is a new transaction.
        changes = self._ended + self._forgotten + [self._transactions[txn] for txn in self._described]
        if len(changes) + len(waits) > CHANGES_MAX:
            return self._snapshot(now)
        changes += self._publish_groups(self._waits[sequence] for sequence in waits)
        changes += self._joined.values()
        changes += [self._publish(sequence, now) for sequence in waits]
        if not changes:
            return []
        self._forget_pending(kept=[sequence for sequence in self._changed if sequence not in set(waits)])
        self.number += 1
        return [encode(DELTA, self.incarnation, self.number, changes)]

    def _snapshot(self, now):
        changes = list(self._transactions.values())
        for group in self._groups.values():
            group.published = False
        changes += self._publish_groups(wait for wait in self._waits.values() if self._due(wait, now))
        changes += [self._publish(sequence, now) for sequence, wait in self._waits.items() if self._due(wait, now)]
        self._forget_pending(kept=[sequence for sequence, wait in self._waits.items() if not wait.published])
        self._snapshot_due = False
        self.number += 1
        parts = [[]]
        size = 0
        for change in changes:
            size += len(msgpack.packb(change, unicode_errors="surrogateescape"))
            if parts[-1] and (size > PART_BYTES or len(parts[-1]) == CHANGES_MAX):
                parts.append([])
                size = 0
            parts[-1].append(change)
        return [encode(SNAPSHOT, self.incarnation, self.number, part, part == len(parts) - 1, changes)
                for part, changes in enumerate(parts)]

    def _due(self, wait, now):
        return wait.published or now - wait.began >= self._publish_after

    def _publish(self, sequence, now):
        wait = self._waits[sequence]
        wait.published = wait.published or self.number + 1
        age_us = max(0, int((now - wait.began) * 1e6))
        change = [WAIT, sequence, wait.waiter, list(wait.since), wait.resource, wait.mode, "", age_us, list(wait.soft), []]
        if wait.need:
            return change + [list(wait.groups), wait.need]
        return change + [list(wait.groups)] if wait.groups else change

    def _publish_groups(self, waits):
        """The groups that these waits name and nobody was told of."""
        changes = []
        for number in sorted(self._named(waits)):
            group = self._groups[number]
            if not group.published:
                group.published = True
                members = list(group.since)
                changes.append([GROUP, number, group.resource, group.mode, members[:BLOCKERS_MAX]])
                changes += [[JOIN, number, member] for member in members[BLOCKERS_MAX:]]
        return changes

    @staticmethod
    def _named(waits):
        return {number for wait in waits for number in wait.groups}

    def _forget_pending(self, kept=()):
        self._ended, self._forgotten, self._described, self._joined = [], [], {}, {}
        self._changed = dict.fromkeys(kept)

    # Frames from the coordinator.

    def receive(self, frame, now):
        """The answers to a frame. One that nobody can read is ignored."""
        try:
            kind, fields = decode(frame)
        except ValueError:
            return []
        self._heard = now
        if kind == ERROR:
            return self._on_error(now, *fields[:3])
        if kind not in (WELCOME, HEARTBEAT_ACK, RESYNC, CONFIRM, ABORT, REORDER):
            return []
        epoch, fields = fields[0], fields[1:]
        if epoch < self.epoch:
            refusal = encode(ABORTED, fields[1], REFUSED, "an order of an earlier epoch") if kind in (ABORT, REORDER) else None
            return [refusal] if refusal else []
        self.epoch = epoch
        if kind == WELCOME:
            return self._on_welcome(now, *fields[:2])
        if kind == HEARTBEAT_ACK:
            self.applied = fields[0]
            return []
        if kind == RESYNC:
            self._snapshot_due = True
            return self._flush(now)
        if kind == CONFIRM:
            return self._on_confirm(now, *fields[:3])
        if kind == REORDER:
            return self._on_reorder(now, *fields[:5])
        return self._on_abort(now, fields[0], Order(*fields[1:9]))

    def _on_welcome(self, now, heartbeat_ms, lease_ms):
        self._heartbeat_s, self._lease_s = heartbeat_ms / 1000, lease_ms / 1000
        self._next_heartbeat = now + self._heartbeat_s
        self.open = True
        self._snapshot_due = True
        return self._flush(now)

    def _on_confirm(self, now, incarnation, confirm, edges):
        def holds(sequence, blocker, since):
            wait = self._waits.get(sequence)
            if incarnation != self.incarnation or wait is None:
                return False
            if wait.need and wait.set_since > since:
                return False
            if wait.since.get(blocker, since + 1) <= since or wait.soft.get(blocker, since + 1) <= since:
                return True
            return self._member_since(wait, blocker, since + 1) <= since

        denied = [edge[:2] for edge in edges if not holds(*edge[:3])]
        return self._flush(now) + [encode(CONFIRMED, confirm, denied)]

    def _member_since(self, wait, blocker, never):
        """The number since which the edge to it has stood by way of a group."""
        if not wait.published or blocker == wait.waiter:
            return never
        return min((max(wait.published, self._groups[number].since.get(blocker, never)) for number in wait.groups), default=never)

    def _on_abort(self, now, incarnation, order):
        wait = self._waits.get(order.sequence)
        key = (order.incident, order.victim, order.role)
        if incarnation != self.incarnation:
            outcome, text = REFUSED, "an order for another incarnation"
        elif wait and (wait.waiter == order.victim if order.role == WAITING else self._blocks(wait, order.victim)):
            outcome, text = self._abort(order)
            self._remember(key, (outcome, text))
        else:
            outcome, text = self._carried_out.get(key, (STALE, "it does not wait like that any more"))
        return self._flush(now) + [encode(ABORTED, order.order, outcome, text)]

    def _on_reorder(self, now, incarnation, order, incident, sequence, blocker):
        wait = self._waits.get(sequence)
        key = (incident, sequence, blocker)
        if incarnation != self.incarnation:
            outcome, text = REFUSED, "an order for another incarnation"
        elif key in self._carried_out:
            outcome, text = self._carried_out[key]
        elif wait is None or blocker not in wait.soft:
            outcome, text = STALE, "it is not behind that request any more"
        elif self._reorder is None:
            outcome, text = FAILED, "this engine does not reorder queues"
        else:
            outcome, text = self._reorder(sequence, blocker)
            if outcome == DONE:
                self._remember(key, (outcome, text))
        return self._flush(now) + [encode(ABORTED, order, outcome, text)]

    def _remember(self, key, answer):
        self._carried_out[key] = answer
        if len(self._carried_out) > REMEMBERED_ORDERS:
            del self._carried_out[next(iter(self._carried_out))]

    def _blocks(self, wait, victim):
        return victim in wait.since or victim in wait.soft or any(victim in self._groups[number].since for number in wait.groups)

    def _on_error(self, now, code, text, number):
        self.errors.append([code, text, number])
        if code == UNKNOWN_SESSION and self.open:
            self._close(now)
        elif code == STALE_INCARNATION:
            self._take_incarnation(number + 1)
            self._close(now)
        elif code == WAIT_A_MOMENT:
            self._close(now + number / 1000)
        elif code in (DUPLICATE_SITE, TOO_MANY_SITES, WRONG_VERSION):
            self._close(now + RETRY_S)
        return self.tick(now)

    def _take_incarnation(self, incarnation):
        self.incarnation = incarnation
        self.number = 0
        for wait in self._waits.values():
            wait.since = dict.fromkeys(wait.since, 1)
            wait.soft = dict.fromkeys(wait.soft, 1)
            wait.set_since = 1
            wait.published = min(wait.published, 1)
        for group in self._groups.values():
            group.since = dict.fromkeys(group.since, 1)


def dealer(endpoint):
    """A socket as the protocol wants it."""
    sock = zmq.Context.instance().socket(zmq.DEALER)
    sock.setsockopt(zmq.ROUTING_ID, b"py-" + secrets.token_bytes(8))
    sock.setsockopt(zmq.IMMEDIATE, 1)
    sock.setsockopt(zmq.LINGER, 200)
    sock.connect(endpoint)
    return sock


class Agent:
    """A Session with its socket and thread: `with Agent("site", endpoint, abort) as agent:`."""

    def __init__(self, site, endpoint, abort, **options):
        self.session = Session(site, time.time_ns() // 1000, abort, **options)
        self._endpoint = endpoint
        self._mutex = threading.RLock()
        self._wakeup, self._woken = socket.socketpair()
        self._wakeup.setblocking(False)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"agent {site}", daemon=True)

    @contextlib.contextmanager
    def reporting(self):
        """The session, for this thread alone until the block ends. Abort orders keep out too, so an engine that changes
        only within such blocks carries them out in one step with their check."""
        with self._mutex:
            yield self.session
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            self._wakeup.send(b".")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping = True
        with self.reporting():
            pass
        self._thread.join()
        self._wakeup.close()
        self._woken.close()

    def _run(self):
        self._socket = dealer(self._endpoint)
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken, zmq.POLLIN)
        while not self._stopping:
            with self._mutex:
                self._send(self.session.tick(time.monotonic()))
            ready = dict(poller.poll(10))
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            if self._socket in ready:
                self._receive()
        with self._mutex:
            self._send(self.session.goodbye())
        self._socket.close()

    def _receive(self):
        with contextlib.suppress(zmq.Again):
            while True:
                frame = self._socket.recv(zmq.NOBLOCK)
                with self._mutex:
                    self._send(self.session.receive(frame, time.monotonic()))

    def _send(self, frames):
        for frame in frames:
            try:
                self._socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                self.session.lost()


def ask(endpoint, what, argument="", timeout=5.0):
    """The coordinator's answer to a tool's question, from its JSON."""
    sock = dealer(endpoint)
    try:
        sock.setsockopt(zmq.IMMEDIATE, 0)
        sock.send(encode(QUERY, 1, what, argument))
        if not sock.poll(timeout * 1000):
            raise TimeoutError(f"{endpoint} does not answer")
        kind, (number, ok, body, *_) = decode(sock.recv())
        if (kind, number) != (ANSWER, 1) or not ok:
            raise ValueError(body)
        return json.loads(body)
    finally:
        sock.close(linger=0)
