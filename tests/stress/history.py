"""The history checker: reads what clients have logged and finds double grants and fences that went back.

A log belongs to one client process; each line is flushed before the client goes on, so that SIGKILL loses nothing that
matters. Times are CLOCK_BOOTTIME seconds, the same for all processes of a machine.

    session T                            a new session begins: what the one before held is over
    ask T TXN RESOURCE MODE              before the lock request is made
    grant T TXN RESOURCE MODE EPOCH COUNTER DEADLINE     it was granted; the session's own deadline is DEADLINE
    fail T TXN WHY                       it was not; WHY is the error's name
    keep T DEADLINE                      the session's own deadline has moved; not after T: it is over
    release T TXN RESOURCE MODE          before the unlock is sent
    end T TXN                            before the end is sent
    lost T TXN WHY                       the lease is over: what is held counts up to the deadline
    pause T RESOURCE VALUE               it stops itself between its check and its write

Rules. A holder's interval begins when the client had its grant, and ends at its release, or at the last deadline that the client
knew, whichever is first. That deadline is the earliest of all agents the session has locks at: a grant by a further agent may
bring it forward, and a client that finds it passed gives up the locks at the others at once. A client that logs nothing more (killed) holds until that deadline: the agent must not know better.
Only a deadlock's victim loses its locks earlier, while it waits: what a transaction holds counts up to the request that
ended in an abort, in the loss of the lease, or in nothing. A transaction never conflicts with itself.
"""

import dataclasses
import heapq
import math
import pathlib

# Of these two sets, any two with one from each conflict: the stress uses S and X only.
CONFLICTS = {("S", "X"), ("X", "S"), ("X", "X")}
# Ends of a request after which the transaction may have been a victim since it asked. Who was stopped while it waited, or was
# told nothing, knows only that its lease is over.
MAYBE_VICTIM = {"deadlock", "wounded", "forced", "lease_lost", "unreachable"}


@dataclasses.dataclass
class Interval:
    """`txn` surely held `resource` in `mode` from `start` to `end`, if these are in this order."""

    txn: str
    resource: str
    mode: str
    fence: tuple
    start: float
    deadline: float
    released: float = math.inf

    @property
    def end(self):
        return min(self.released, self.deadline)

    def __str__(self):
        return (f"{self.txn} held {self.resource} in {self.mode} with fence {self.fence[0]}.{self.fence[1]} "
                f"from {self.start:.6f} to {self.end:.6f}")


@dataclasses.dataclass
class History:
    """What all logs together say."""

    intervals: list = dataclasses.field(default_factory=list)
    fails: dict = dataclasses.field(default_factory=dict)  #: how often each error was seen
    lost: dict = dataclasses.field(default_factory=dict)  #: how often, for each reason
    grants: int = 0
    pauses: int = 0

    def read(self, lines):
        """One client's log."""
        _Client(self).read(lines)

    def read_folder(self, folder):
        for path in sorted(pathlib.Path(folder).glob("*.log")):
            text = path.read_text()
            self.read(text[:text.rfind("\n") + 1].splitlines())  # SIGKILL may have cut the last line

    def check(self):
        """The violations: (kind, sentence) with kind "double grant" or "fence back"."""
        found = []
        resources = {}
        for interval in self.intervals:
            if interval.start < interval.end:  # else the client was paused before it could even look
                resources.setdefault(interval.resource, []).append(interval)
        for intervals in resources.values():
            found += _check_resource(sorted(intervals, key=lambda one: one.start))
        return found


class _Client:
    """Reads one log."""

    def __init__(self, history):
        self.history = history
        self.held = {}  # of each transaction: its intervals that are not released
        self.asked = {}  # of each transaction that waits for an answer: since when

    def read(self, lines):
        for number, line in enumerate(lines, 1):
            what, time, *rest = line.split(" ")
            handler = getattr(self, "_" + what, None)
            if handler is None:
                raise ValueError(f"line {number}: {line!r} is no line of a history")
            handler(float(time), *rest)
        for txn in list(self.asked):
            self._cut(txn)  # it may have become a victim after the client was killed

    def _session(self, _):
        for txn in list(self.asked):
            self._cut(txn)
        self.held.clear()

    def _ask(self, time, txn, *_):
        self.asked[txn] = time

    def _grant(self, time, txn, resource, mode, epoch, counter, deadline):
        self.asked.pop(txn, None)
        self.history.grants += 1
        interval = Interval(txn, resource, mode, (int(epoch), int(counter)), time, float(deadline))
        self.history.intervals.append(interval)
        self.held.setdefault(txn, []).append(interval)
        self._keep(time, deadline)

    def _fail(self, _, txn, why):
        self.history.fails[why] = self.history.fails.get(why, 0) + 1
        if why in MAYBE_VICTIM:
            self._cut(txn)
        self.asked.pop(txn, None)

    def _cut(self, txn):
        for interval in self.held.pop(txn, []):
            interval.released = min(interval.released, self.asked.get(txn, interval.start))
        self.asked.pop(txn, None)

    def _lost(self, _, txn, why):
        self.history.lost[why] = self.history.lost.get(why, 0) + 1
        self.held.pop(txn, None)

    def _pause(self, *_):
        self.history.pauses += 1

    def _keep(self, time, deadline):
        if float(deadline) <= time:
            return  # it is over, and that says nothing of when
        for intervals in self.held.values():
            for interval in intervals:
                interval.deadline = float(deadline)

    def _release(self, time, txn, resource, mode):
        intervals = self.held.get(txn, [])
        for interval in reversed(intervals):
            if (interval.resource, interval.mode) == (resource, mode):
                interval.released = time
                intervals.remove(interval)
                return
        raise ValueError(f"{txn} releases {resource} in {mode} at {time} without holding it")

    def _end(self, time, txn):
        for interval in self.held.pop(txn, []):
            interval.released = time
        self.asked.pop(txn, None)


def _check_resource(intervals):
    """`intervals` of one resource, by start."""
    found = []
    active = []  # heap by end
    newest = {}  # of each mode: the interval over by now that has the largest fence
    owners = {}  # of each fence: who had it
    for place, interval in enumerate(intervals):
        while active and active[0][0] <= interval.start:
            over = heapq.heappop(active)[2]
            if over.mode not in newest or over.fence > newest[over.mode].fence:
                newest[over.mode] = over
        for _, _, other in active:
            if other.txn != interval.txn and (interval.mode, other.mode) in CONFLICTS:
                found.append(("double grant", f"{other}, and {interval}"))
        for mode, before in newest.items():
            back = interval.fence < before.fence if before.txn == interval.txn else interval.fence <= before.fence
            if back and (before.txn == interval.txn or (interval.mode, mode) in CONFLICTS):
                found.append(("fence back", f"first {before}, then {interval}"))
        owner = owners.setdefault(interval.fence, interval)
        if owner.txn != interval.txn:
            found.append(("fence back", f"one fence twice: {owner}, and {interval}"))
        heapq.heappush(active, (interval.end, place, interval))
    return found
