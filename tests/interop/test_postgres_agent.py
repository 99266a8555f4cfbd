"""A real gordian-postgres, spoken to by a coordinator in Python: orders that no real coordinator would give."""

import contextlib
import pathlib
import sys
import time
import unittest

import psycopg2
import zmq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import gordian_agent as ga  # noqa: E402
from gordian_agent import decode, encode  # noqa: E402
from harness import PostgresAgent, PostgresServer  # noqa: E402

EPOCH = 5


class Coordinator:
    """One session, driven by hand; heartbeats are answered while it waits for something else."""

    def __init__(self):
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._peer = None
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, *message):
        self._socket.send_multipart([self._peer, encode(*message)])

    def expect(self, *kinds, timeout=10.0):
        """Type and fields of the next message of one of these types."""
        deadline = time.monotonic() + timeout
        while self._socket.poll(max(0, deadline - time.monotonic()) * 1000):
            self._peer, frame = self._socket.recv_multipart()
            kind, fields = decode(frame)
            if kind in (ga.DELTA, ga.SNAPSHOT):
                self.number = fields[1]
            if kind == ga.HEARTBEAT:
                self.send(ga.HEARTBEAT_ACK, EPOCH, self.number)
            if kind in kinds:
                return kind, fields
        raise AssertionError(f"no message of type {kinds} within {timeout} s")

    def accept(self):
        """Hello, Welcome, Snapshot; the agent's incarnation."""
        _, hello = self.expect(ga.HELLO)
        self.send(ga.WELCOME, EPOCH, 200, 5000)
        self.expect(ga.SNAPSHOT)
        return hello[1]

    def wait_of(self, waiter):
        """Number, sequence and hard blockers, from the first Delta that reports a wait of that transaction."""
        while True:
            _, (_, number, changes, *_) = self.expect(ga.DELTA)
            for change in changes:
                if change[0] == ga.WAIT and change[2] == waiter and change[3]:
                    return number, change[1], change[3]


class PostgresAgentTest(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        server = stack.enter_context(PostgresServer())
        server.run("create table account (id int primary key, balance int)", "insert into account values (1, 0)")
        self.coordinator = stack.enter_context(Coordinator())
        stack.enter_context(PostgresAgent("pg", server, self.coordinator.endpoint))
        self.incarnation = self.coordinator.accept()
        holder, waiter = server.client("gtx:T1"), server.client("gtx:T2")
        update = "update account set balance = balance + 1 where id = 1"
        holder.run(update)
        self.waiting = waiter.begin(update)
        self.number, self.sequence, blockers = self.coordinator.wait_of("T2")
        self.assertEqual(blockers, ["T1"])

    def confirm(self, since, incarnation=None, blocker="T1"):
        edges = [[self.sequence, blocker, since]]
        self.coordinator.send(ga.CONFIRM, EPOCH, incarnation or self.incarnation, 9, edges)
        _, (confirm, denied, *_) = self.coordinator.expect(ga.CONFIRMED)
        self.assertEqual(confirm, 9)
        return denied

    def order(self, epoch=EPOCH, incarnation=None, victim="T2", attempt=0):
        """The messages that answer the order, up to Aborted, and its outcome."""
        self.coordinator.send(ga.ABORT, epoch, incarnation or self.incarnation, 3, "5-1", victim, self.sequence, ga.WAITING,
                              attempt, 2000, "test")
        answers = []
        while True:
            kind, fields = self.coordinator.expect(ga.DELTA, ga.SNAPSHOT, ga.ABORTED)
            answers.append((kind, fields))
            if kind == ga.ABORTED:
                self.assertEqual(fields[0], 3)
                return answers, fields[1]

    def test_confirmations_are_denied_unless_they_ask_for_what_stands(self):
        self.assertEqual(self.confirm(self.number), [])
        for denied in (self.confirm(self.number - 1), self.confirm(self.number, incarnation=self.incarnation - 1)):
            self.assertEqual(denied, [[self.sequence, "T1"]])
        self.assertEqual(self.confirm(self.number, blocker="T3"), [[self.sequence, "T3"]])

    def test_orders_are_refused_or_stale_unless_their_condition_holds(self):
        for outcome, options in ((ga.REFUSED, {"epoch": EPOCH - 1}), (ga.REFUSED, {"incarnation": self.incarnation - 1}),
                                 (ga.STALE, {"victim": "T1"})):
            with self.subTest(**options):
                self.assertEqual(self.order(**options)[1], outcome)
                self.assertEqual(self.confirm(self.number), [])
                self.assertFalse(self.waiting.done())

        answers, outcome = self.order()
        self.assertEqual(outcome, ga.DONE)
        ended = [change for kind, fields in answers if kind == ga.DELTA for change in fields[2]]
        self.assertIn([ga.END, self.sequence], ended)  # before Aborted
        with self.assertRaises(psycopg2.Error):
            self.waiting.result(10)
        self.assertEqual(self.order(attempt=1)[1], ga.DONE)  # the first answer may have been lost

    def test_resync_is_answered_with_a_snapshot_that_keeps_the_edge(self):
        self.coordinator.send(ga.RESYNC, EPOCH - 1, "of an old epoch: ignored")
        self.coordinator.send(ga.RESYNC, EPOCH, "test")
        _, (_, number, part, last, changes, *_) = self.coordinator.expect(ga.SNAPSHOT)
        self.assertEqual((number, part, last), (self.number + 1, 0, True))
        self.assertIn([ga.WAIT, self.sequence, "T2"], [change[:3] for change in changes])
        self.assertEqual(self.confirm(self.number), [])


if __name__ == "__main__":
    unittest.main()
