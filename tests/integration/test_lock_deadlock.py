"""Deadlocks that run through lock agents and a PostgreSQL server, and many sessions and waiters at one agent."""

import concurrent.futures
import contextlib
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "agents/python"))

import gordian  # noqa: E402
from harness import Gordiand, LockAgent, LockPeer, PostgresAgent, PostgresServer, wait_until  # noqa: E402
from harness import lock_peer as lp  # noqa: E402
from postgres_case import FAST, UPDATE, error_of  # noqa: E402


class MixedTest(unittest.TestCase):
    """One transaction holds a row in PostgreSQL and waits for a lock at an agent, another the other way round."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.server = cls.enterClassContext(PostgresServer())
        cls.server.run("create table account (id int primary key, balance int not null)", "insert into account values (1, 0)")
        cls.gordiand = cls.enterClassContext(Gordiand())
        cls.agent = cls.enterClassContext(
            LockAgent("locks", cls.folder / "state", "--publish-after", "0", coordinator=cls.gordiand.endpoint))
        cls.postgres = cls.enterClassContext(PostgresAgent("database", cls.server, cls.gordiand.endpoint, *FAST))
        cls.gordiand.cli.wait_for_sites("locks", "database")
        cls.postgres.wait_until_connected()
        cls.pool = cls.enterClassContext(concurrent.futures.ThreadPoolExecutor(2))

    def crossing(self, database_start, lock_start):
        """(the statement that waits in PostgreSQL, the call that waits at the agent, the holder's transaction, its row's client)"""
        client = self.enterContext(gordian.LockClient({"locks": self.agent.endpoint}))
        session = self.enterContext(client.session(ttl=30))
        row, other = self.server.client("gtx:waits-for-lock"), self.server.client("gtx:waits-for-row")
        self.addCleanup(row.close)
        self.addCleanup(other.close)
        row.run(UPDATE.format(1))
        holder = session.transaction("waits-for-row", start=database_start)
        holder.lock("shared")
        statement = other.begin(UPDATE.format(1))
        self.server.wait_until_waiting(other)
        waiter = session.transaction("waits-for-lock", start=lock_start)
        return statement, self.pool.submit(waiter.lock, "shared"), holder, row

    def settled(self):
        return wait_until(lambda: [i for i in self.gordiand.cli.deadlocks()["incidents"] if i["outcome"] == "resolved"], 15,
                          lambda: f"an incident is resolved: {self.gordiand.cli.deadlocks()}", 0.02)[0]

    def test_the_victim_waits_at_the_agent(self):
        # PostgreSQL's start of a transaction is the present: one far in the future is younger.
        statement, call, holder, _ = self.crossing(1.0, 4e15)
        error = call.exception(15)
        self.assertIsInstance(error, gordian.Deadlock)
        self.assertEqual(error.incident, self.settled()["id"])
        self.assertEqual({edge["site"] for edge in self.settled()["edges"]}, {"locks", "database"})
        # Its client does nothing about its idle branch in PostgreSQL: the agent there ends it.
        self.assertEqual(error_of(statement), "")
        holder.end()

    def test_the_victim_waits_in_postgresql(self):
        statement, call, holder, row = self.crossing(4e15, 1.0)
        self.assertIn("cancel", error_of(statement))
        self.assertTrue(call.result(15).fence)  # the victim's lock at the agent was freed
        with self.assertRaises(gordian.Deadlock):
            holder.lock("another")
        row.run("commit")


class ReorderTest(unittest.TestCase):
    """Two transactions, each queued behind a request of the other, at two agents."""

    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.gordiand = self.enterContext(Gordiand())
        self.a, self.b = (self.site(folder, name) for name in "ab")
        self.gordiand.cli.wait_for_sites("a", "b")

    def site(self, folder, name):
        agent = self.enterContext(
            LockAgent(name, folder / name, "--publish-after", "0", coordinator=self.gordiand.endpoint))
        peer = self.enterContext(LockPeer(agent.endpoint))
        peer.open(1, 600_000)
        return peer

    def queue(self, peer, number, txn, mode):
        peer.request(lp.LOCK, 1, number, txn, None, None, 0, 0, [["hot", mode]])
        wait_until(lambda: txn in peer.waiters("hot") or txn in peer.holders("hot"), 10, f"{txn} has asked")

    def test_one_is_let_past_the_other_and_both_finish(self):
        for peer, reader in (self.a, "reader of a"), (self.b, "reader of b"):
            self.assertEqual(peer.lock(1, 1, reader, "hot", "S")[0], lp.DONE)
        # T1 would fit in at a, and T2 at b; each stands behind the other, who waits for a reader.
        self.queue(self.a, 2, "T2", "X")
        self.queue(self.b, 2, "T1", "X")
        self.queue(self.a, 3, "T1", "S")
        self.queue(self.b, 3, "T2", "S")
        incident = wait_until(lambda: [i for i in self.gordiand.cli.deadlocks()["incidents"] if i["outcome"] == "resolved"], 15,
                              lambda: f"an incident is resolved: {self.gordiand.cli.deadlocks()}", 0.02)[0]
        self.assertEqual(incident["victims"], [])
        [moved] = [edge for edge in incident["edges"] if edge.get("reordered")]
        self.assertEqual(moved["kind"], "soft")
        peer = self.a if moved["site"] == "a" else self.b
        self.assertEqual(peer.holders("hot")[moved["waiter"]], "S")  # and has the lock at once, beside the reader
        for reader_of, reader in (self.a, "reader of a"), (self.b, "reader of b"):
            self.assertEqual(reader_of.ask(lp.END, 1, 9, reader)[0], lp.DONE)
        first, second = ("T1", "T2") if moved["waiter"] == "T1" else ("T2", "T1")
        for txn in first, second:
            for one in self.a, self.b:
                wait_until(lambda one=one, txn=txn: txn in one.holders("hot"), 10, f"{txn} has its locks")
            for number, one in enumerate((self.a, self.b), 10 if txn == first else 20):
                self.assertEqual(one.ask(lp.END, 1, number, txn)[0], lp.DONE)
        self.assertEqual(len(self.gordiand.cli.deadlocks()["incidents"]), 1)
        for one in self.a, self.b:
            self.assertEqual(one.query("status")["counters"]["aborted"], 0)
        self.assertEqual(sum(one.query("status")["counters"]["reordered"] for one in (self.a, self.b)), 1)
        table = self.gordiand.cli.run("deadlocks").stdout
        self.assertIn("none: reorder", table)
        story = self.gordiand.cli.run("deadlocks", "--incident", incident["id"]).stdout
        self.assertIn("a reorder of the queue was enough", story)
        self.assertIn(f"behind   {moved['blocker']} (peer) (was let past it)", story)
        self.assertIn(f"reorder at site {moved['site']} ordered: {moved['waiter']} ahead of {moved['blocker']}", story)


class CrowdTest(unittest.TestCase):
    def setUp(self):
        self.stack = self.enterContext(contextlib.ExitStack())
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.gordiand = self.stack.enter_context(Gordiand())
        self.agent = self.stack.enter_context(
            LockAgent("a", self.folder / "state", "--publish-after", "0", coordinator=self.gordiand.endpoint))
        self.peer = self.stack.enter_context(LockPeer(self.agent.endpoint))

    def test_a_hundred_thousand_sessions(self):
        count = 100_000
        sessions = range(1, count + 1)
        for start in range(0, count, 1000):
            for session in sessions[start:start + 1000]:
                self.peer.send(lp.OPEN_SESSION, session, 600_000, 0, "")
            for _ in range(1000):
                self.peer.expect(lp.SESSION_OPENED)
        for start in range(0, count, 20_000):
            self.assertEqual(self.peer.renew(*sessions[start:start + 20_000]), [])
        self.assertEqual(self.peer.query("status")["sessions"], count)
        self.assertEqual(self.peer.lock(count, 1, "t", "r")[0], lp.DONE)

    def test_ten_thousand_waiters_for_one_resource_and_an_upgrade_that_closes_a_circle(self):
        self.gordiand.cli.wait_for_sites("a")
        count = 10_000
        self.peer.open(1, 600_000)
        self.assertEqual(self.peer.lock(1, 1, "holder", "hot", "S")[0], lp.DONE)
        self.assertEqual(self.peer.lock(1, 2, "second", "hot", "S")[0], lp.DONE)
        self.peer.send(lp.REQUESTS, [[lp.LOCK, 1, 3 + i, 1, f"waiter{i}", None, None, 0, 0, [["hot", "X"]]] for i in range(count)])
        patient = ("--timeout", "9s")  # under a sanitizer so many take a while
        wait_until(lambda: self.gordiand.cli.json(*patient, "status")["waits"] == count, 60, "all waits are known to the coordinator", 0.1)
        # Both holders want more: each waits for the other, behind nobody.
        self.peer.request(lp.LOCK, 1, count + 3, "holder", 1.0, None, 0, 0, [["hot", "X"]])
        self.peer.request(lp.LOCK, 1, count + 4, "second", 2.0, None, 0, 0, [["hot", "X"]])
        _, [_, txn, status, *_] = self.peer.expect_any({lp.TXN_ABORTED}, 60)
        self.assertEqual(status, lp.DEADLOCK)
        incident = wait_until(lambda: self.gordiand.cli.json(*patient, "deadlocks")["incidents"], 20, "the incident is stored")[0]
        self.assertEqual(incident["victims"], [txn.decode()])
        self.assertEqual({member["txn"] for member in incident["txns"]}, {"holder", "second"})
        survivor = "second" if txn == b"holder" else "holder"
        wait_until(lambda: self.peer.holders("hot") == {survivor: "X"}, 10, "the other one has it")
        # The whole queue passes through.
        self.peer.send(lp.REQUESTS, [[lp.END, 1, count + 5, 1, survivor]])
        self.peer.send(lp.REQUESTS, [[lp.END, 1, count + 6 + i, count + 3, f"waiter{i}"] for i in range(count)])
        wait_until(lambda: self.peer.query("status")["locks"] == 0, 60, "the queue is empty", 0.1)
        self.assertEqual(self.peer.query("status")["counters"]["granted"], 2 + 1 + count)


if __name__ == "__main__":
    unittest.main()
