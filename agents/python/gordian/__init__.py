"""Gordian's lock service: locks with leases and fences, deadlocks found across agents.

    client = gordian.LockClient("tcp://127.0.0.1:7420")
    with client.lock("orders/42", ttl=10) as grant:
        store.write(key, value, fence=grant.fence)

Written from docs/lock-protocol.md. Logs to the logger "gordian".
"""

from .client import LockClient
from .errors import (Cancelled, Deadlock, Forced, ForkedClient, Invalid, LeaseLost, LimitReached, LockError, NotHeld, OutOfOrder,
                     Refused, Timeout, Unreachable, Wounded)
from .fence import Fence, FenceGuard, StaleFence
from .modes import DLM, STANDARD, ModeMatrix
from .session import Session
from .transaction import Grant, Transaction

__all__ = ["DLM", "STANDARD", "Cancelled", "Deadlock", "Fence", "FenceGuard", "Forced", "ForkedClient", "Grant", "Invalid", "LeaseLost",
           "LimitReached", "LockClient", "LockError", "ModeMatrix", "NotHeld", "OutOfOrder", "Refused", "Session", "StaleFence", "Timeout",
           "Transaction", "Unreachable", "Wounded"]
