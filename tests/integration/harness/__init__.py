"""Throw-away PostgreSQL servers and Gordian's programs, for integration tests, the demo and measurements.

Everything runs on free ports and in temporary folders, and ends with the `with` block (or with this process, should it
be killed). Nothing here sleeps for a fixed time to wait for something: wait_until() asks until a deadline.
"""

from .client import Client
from .gordian import Cluster, Gordian, Gordiand, LockAgent, PostgresAgent
from .lock_peer import LockPeer
from .postgres import PostgresServer
from .program import Program, cpu_seconds
from .wait import wait_until

__all__ = ["Client", "Cluster", "Gordian", "Gordiand", "LockAgent", "LockPeer", "PostgresAgent", "PostgresServer", "Program", "cpu_seconds", "wait_until"]
