"""Fences: how a resource recognises a holder whose lease ran out while it was paused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from .errors import LimitReached, LockError

Result = TypeVar("Result")


class Fence(NamedTuple):
    """(epoch, counter), compared in this order. It grows with every grant of a resource to another holder or in a stronger
    mode, across restarts of the agent too. As text: "epoch.counter"."""

    epoch: int
    counter: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.counter}"

    @classmethod
    def parse(cls, text: str) -> Fence:
        """The reverse of str(). Raises ValueError."""
        epoch, dot, counter = text.partition(".")
        if not dot or not epoch.isdecimal() or not counter.isdecimal():
            raise ValueError(f"a fence is written EPOCH.COUNTER, not {text!r}")
        return cls(int(epoch), int(counter))


class StaleFence(LockError):
    """Someone came with a fence that is older than one seen before: another holder came after."""

    code = "stale_fence"

    def __init__(self, message: str, given: Fence, seen: Fence) -> None:
        super().__init__(message)
        self.given = given
        self.seen = seen

    def again(self) -> StaleFence:
        return StaleFence(self.message, self.given, self.seen)


class FenceGuard:
    """What a guarded resource does with fences: it remembers the largest one it has seen, and refuses whoever comes with less.

    Put it where the resource's writes are decided. Thread-safe. A guard that forgets admits stale holders: store `seen`
    durably beside the resource, and `restore` it at start.
    """

    def __init__(self, names_max: int = 1_000_000) -> None:
        self._names_max = names_max
        self._seen: dict[str | bytes, Fence] = {}
        self._lock = threading.RLock()

    def admit(self, name: str | bytes, fence: Fence, write: Callable[[], Result] | None = None) -> Result | None:
        """Runs `write` if `fence` is not older than the largest one seen for `name`, while nobody else may write, and returns
        its result. If `write` raises, nothing was admitted. Raises StaleFence; LimitReached for a new name beyond
        `names_max`."""
        fence = Fence(*fence)
        with self._lock:
            seen = self._seen.get(name)
            if seen is None and len(self._seen) >= self._names_max:
                raise LimitReached(f"the guard knows {self._names_max} names already (names_max); {name!r} is not admitted")
            if seen is not None and fence < seen:
                raise StaleFence(f"{name!r}: fence {fence} is older than {seen}, which was seen before: another holder came "
                                 "after; take the lock again and read again", fence, seen)
            result = write() if write is not None else None
            self._seen[name] = fence
            return result

    def seen(self, name: str | bytes) -> Fence | None:
        """The largest fence seen."""
        with self._lock:
            return self._seen.get(name)

    def restore(self, name: str | bytes, fence: Fence) -> None:
        """At start, what was stored durably beside the resource. Never lowers what is known."""
        with self._lock:
            self._seen[name] = max(Fence(*fence), self._seen.get(name, Fence(0, 0)))
