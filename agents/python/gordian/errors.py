"""What can go wrong, one class each, as docs/lock-protocol.md numbers them."""

from __future__ import annotations


class LockError(Exception):
    """The base of all errors of the lock service. `str(error)` says what happened, where, and what to do.

    `aborts` tells whether the whole transaction is over, with all its locks: it then holds nothing any more.
    """

    code = "error"
    aborts = False

    def __init__(self, message: str, incident: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.incident = incident  #: names the deadlock, for `gordian deadlocks show`; empty for other errors

    def again(self) -> LockError:
        """A new exception that says the same: one object must not be raised by several threads."""
        return type(self)(self.message, self.incident)


class Deadlock(LockError):
    """The transaction was chosen as the victim of a deadlock, `incident`. Begin a new one, with the same `start`."""

    code, aborts = "deadlock", True


class Timeout(LockError):
    """The lock was not free within `wait`."""

    code = "timeout"


class Cancelled(LockError):
    """The request was withdrawn, or its transaction ended meanwhile."""

    code = "cancelled"


class LeaseLost(LockError):
    """The session is over, and all its locks with it."""

    code, aborts = "lease_lost", True


class Refused(LockError):
    """It would have to wait, and may not (`wait=0`, or the strategies no_wait and wait_die)."""

    code = "refused"


class Wounded(LockError):
    """An older transaction needed its locks (strategy wound_wait)."""

    code, aborts = "wounded", True


class OutOfOrder(LockError):
    """Strategy `ordered`: the message names both resources."""

    code = "out_of_order"


class LimitReached(LockError):
    """A limit would be exceeded; the message says which."""

    code = "limit"


class NotHeld(LockError):
    """The lock is not held, or not under that fence, or not in such a mode."""

    code = "not_held"


class Invalid(LockError):
    """The call makes no sense; the message says why."""

    code = "invalid"


class Forced(LockError):
    """An administrator released the transaction's locks by force."""

    code, aborts = "forced", True


class Unreachable(LockError):
    """The agent did not answer in time. What was asked for is withdrawn when it can be reached again."""

    code = "unreachable"


class ForkedClient(LockError):
    """The client was made by another process: locks are that process's own. Make a client of your own after the fork."""

    code = "forked"


#: The statuses of a reply that are errors.
BY_STATUS: dict[int, type[LockError]] = {
    2: Deadlock, 3: Timeout, 4: Cancelled, 5: LeaseLost, 6: Refused, 7: Wounded, 8: OutOfOrder, 9: LimitReached, 10: NotHeld,
    11: Invalid, 12: Forced,
}


def from_status(status: int, text: str, incident: str) -> LockError:
    """The error of a reply. A status that is not known here is an error, too."""
    kind = BY_STATUS.get(status, LockError)
    return kind(text or kind.__doc__ or f"status {status}", incident)
