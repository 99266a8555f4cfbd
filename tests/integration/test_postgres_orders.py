"""Orders that come too late: the session has gone on, and the agent does not know it yet. Nobody may be hurt.

A real coordinator confirms first, and the agent looks again then. So here a test plays the coordinator, by docs/protocol.md,
and the agent looks once a minute.
"""

import time
import unittest

import msgpack
import zmq
from harness import PostgresAgent, PostgresServer, wait_until
from postgres_case import UPDATE

HELLO, HEARTBEAT, DELTA, SNAPSHOT, ABORTED = 1, 2, 3, 4, 6
WELCOME, HEARTBEAT_ACK, ABORT = 17, 18, 21
WAITING, HOLDING = 0, 1
DONE, STALE = 0, 1


class ScriptedCoordinator:
    """One agent's coordinator. It does something only while it is asked to wait for something."""

    def __init__(self):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.waits = {}  # sequence → (waiter, hard blockers)
        self._outcomes = {}
        self._orders = 0
        self._agent = self._incarnation = None

    def close(self):
        self._socket.close()
        self._context.term()

    def wait_until(self, condition, what):
        deadline = time.monotonic() + 10
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within 10 s: {what}; waits {self.waits}")
            if self._socket.poll(100):
                self._agent, frame = self._socket.recv_multipart()
                self._take(*msgpack.unpackb(frame)[1:])

    def order(self, victim, sequence, role, attempt):
        """Gives an order, and waits for the outcome."""
        self._orders += 1
        number = self._orders
        self._send(ABORT, 1, self._incarnation, number, "1-1", victim, sequence, role, attempt, 1000, "for a test")
        self.wait_until(lambda: number in self._outcomes, "the order is answered")
        return self._outcomes[number]

    def _send(self, *message):
        self._socket.send_multipart([self._agent, msgpack.packb([1, *message])])

    def _take(self, kind, *fields):
        if kind == HELLO:
            self._incarnation = fields[1]
            self._send(WELCOME, 1, 500, 60_000)
        elif kind == HEARTBEAT:
            self._send(HEARTBEAT_ACK, 1, fields[1])
        elif kind in (DELTA, SNAPSHOT):
            for change in fields[-1]:
                if change[0] == 0:
                    self.waits[change[1]] = (change[2], change[3])
                elif change[0] == 1:
                    self.waits.pop(change[1])
        elif kind == ABORTED:
            self._outcomes[fields[0]] = fields[1]


class LateOrderTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(PostgresServer())
        cls.server.run("create table account (id int primary key, balance int not null)",
                       "insert into account select id, 0 from generate_series(1, 20) id")

    def setUp(self):
        self.coordinator = ScriptedCoordinator()
        self.addCleanup(self.coordinator.close)
        self.holder, self.waiter = self.server.client("gtx:holder"), self.server.client("gtx:waiter")
        self.addCleanup(self.waiter.close)
        self.addCleanup(self.holder.close)
        self.holder.run(UPDATE.format(1))
        self.holder.run(UPDATE.format(2))
        self.waiter.run("savepoint start")
        self.statement = self.waiter.begin(UPDATE.format(1))
        self.server.wait_until_waiting(self.waiter)

    def start_agent(self, idle_branch_grace="0"):
        """It looks once, now. Returns the sequence of the wait that it saw."""
        self.enterContext(PostgresAgent("a", self.server, self.coordinator.endpoint, "--publish-after", "0",
                                        "--poll-interval", "1min", "--busy-poll-interval", "1min",
                                        "--idle-branch-grace", idle_branch_grace))
        self.coordinator.wait_until(lambda: self.coordinator.waits, "the wait is reported")
        ((sequence, wait),) = self.coordinator.waits.items()
        self.assertEqual(wait, ("waiter", ["holder"]))
        return sequence

    def end_wait(self):
        self.server.run(f"select pg_cancel_backend({self.waiter.pid})")
        self.statement.exception(10)

    def wait_again(self):
        self.statement = self.waiter.begin(UPDATE.format(2))
        self.server.wait_until_waiting(self.waiter)

    def assert_unhurt(self):
        """The waiter still waits, and goes on once it may."""
        self.assertFalse(self.statement.done())
        self.holder.commit()
        self.statement.result(10)
        self.waiter.commit()

    def test_in_time(self):
        """So that the tests below are worth something: this order is carried out."""
        sequence = self.start_agent(idle_branch_grace="10s")
        self.waiter.begin("rollback")  # after the error: the savepoint would keep its locks
        self.assertEqual(self.coordinator.order("waiter", sequence, WAITING, 0), DONE)
        self.assertIn("canceling statement", str(self.statement.exception(10)))

    def test_another_wait_of_the_same_transaction(self):
        sequence = self.start_agent()
        self.end_wait()
        self.waiter.run("rollback to savepoint start")
        self.wait_again()
        self.assertEqual(self.coordinator.order("waiter", sequence, WAITING, 0), STALE)
        self.assert_unhurt()

    def test_a_wait_of_the_next_transaction(self):
        sequence = self.start_agent()
        self.end_wait()
        self.waiter.rollback()
        self.wait_again()
        self.assertEqual(self.coordinator.order("waiter", sequence, WAITING, 0), STALE)
        # The transaction it was about has ended: there is nothing to terminate either.
        self.assertEqual(self.coordinator.order("waiter", sequence, WAITING, 1), DONE)
        self.assert_unhurt()

    def test_the_next_transaction_of_a_holder(self):
        sequence = self.start_agent()
        self.holder.commit()
        self.statement.result(10)
        self.waiter.commit()
        self.holder.run(UPDATE.format(3))
        for attempt in (0, 1):
            self.assertEqual(self.coordinator.order("holder", sequence, HOLDING, attempt), DONE)
        self.holder.commit()  # its connection lives

    def test_a_holder_in_time(self):
        sequence = self.start_agent()
        self.assertEqual(self.coordinator.order("holder", sequence, HOLDING, 0), DONE)
        self.statement.result(10)
        wait_until(lambda: not self.server.run(f"select from pg_stat_activity where pid = {self.holder.pid}"), 10,
                   "the idle holder was terminated")


if __name__ == "__main__":
    unittest.main()
