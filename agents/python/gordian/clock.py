"""Time: a clock that never goes back and runs while the machine sleeps, the arithmetic of leases, and timers.

Everything is in seconds of CLOCK_BOOTTIME.
"""

from __future__ import annotations

import heapq
import itertools
import time
from typing import Protocol


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def margin(ttl: float) -> float:
    """By how much the client's deadline is earlier than ttl after sending: for clocks that do not run alike."""
    return max(ttl / 50, 0.010)


def lease_end(sent: float, ttl: float) -> float:
    """Until when a lease is surely the client's, when OpenSession or Renew that was sent at `sent` has been answered."""
    return sent + ttl - margin(ttl)


class Timed(Protocol):
    """Something with one timer."""

    due: float | None

    def on_time(self, now: float) -> None: ...


class Timers:
    """The timers of many things, each of which has one. Setting one again replaces it. Not thread-safe. Cost: O(log n)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()

    def set(self, thing: Timed, when: float | None) -> None:
        """None: no timer."""
        if when == thing.due:
            return  # its entry is there already
        thing.due = when
        if when is not None:
            heapq.heappush(self._heap, (when, next(self._order), thing))

    def run(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, _, thing = heapq.heappop(self._heap)
            if thing.due == when:
                thing.due = None
                thing.on_time(now)

    def next(self) -> float | None:
        """When the next one is due."""
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heapq.heappop(self._heap)  # set to another time meanwhile
        return self._heap[0][0] if self._heap else None
