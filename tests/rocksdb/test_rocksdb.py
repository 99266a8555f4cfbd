"""RocksDB's transactions in deadlocks that RocksDB cannot see, and those that are none."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

for folder in ("integration", "interop"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))

import gordian_agent as ga  # noqa: E402
from harness import Gordiand, wait_until  # noqa: E402
from lock_table import Aborted, LockTable  # noqa: E402
from rocksdb_site import Site  # noqa: E402
from test_postgres_agent import EPOCH, Coordinator  # noqa: E402


def incidents(coordinator):
    return ga.ask(coordinator.endpoint, "incidents", json.dumps({"limit": 5000}))["incidents"]


def run(*command, **environment):
    """What the program prints; it must end well, and a sanitizer have nothing to say."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, **environment})
    if done.returncode != 0 or "Sanitizer" in done.stderr:
        raise AssertionError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class WithCoordinator(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.enter = stack.enter_context
        self.coordinator = self.enter(Gordiand())

    def sites(self, *names):
        sites = [self.enter(Site(name, self.coordinator.endpoint)) for name in names]
        self.coordinator.cli.wait_for_sites(*names)
        return sites

    def resolved(self, count=1):
        """The incidents, once there are so many and all are resolved."""
        def settled():
            found = incidents(self.coordinator)
            return found if len(found) == count and all(i["outcome"] == "resolved" for i in found) else None

        return wait_until(settled, 10, lambda: f"{count} resolved incidents: {incidents(self.coordinator)}", 0.02)

    def edges(self):
        return {(edge["waiter"], edge["blocker"]) for incident in incidents(self.coordinator) for edge in incident["edges"]}


class CrossingTest(WithCoordinator):
    def test_two_sites_and_several_keys(self):
        a, b = self.sites("a", "b")
        for site in (a, b):
            for start, txn in enumerate(("T1", "T2", "by")):
                site.begin(txn, start)
        for key in ("k1", "k2", "k3"):
            self.assertEqual(a.run("T1", "put", key, "one"), "ok")
            self.assertEqual(b.run("T2", "lock", key), "none")
        bystander = a.send_waiting("by", "put", "k1", "by")
        older = b.send_waiting("T1", "put", "k2", "one")
        younger = a.send("T2", "erase", "k3")

        error, incident = a.answer(younger).split()
        self.assertEqual(error, "deadlock")
        self.assertEqual(b.answer(older), "ok")  # its branch at b, which was idle, is rolled back, too
        [found] = self.resolved()
        self.assertEqual((found["id"], found["victims"]), (incident, ["T2"]))
        self.assertEqual({(edge["waiter"], edge["blocker"], edge["site"]) for edge in found["edges"]},
                         {("T1", "T2", "b"), ("T2", "T1", "a")})

        for site in (a, b):
            for command in (["put", "x", "y"], ["get", "x"], ["lock", "x"], ["commit"]):
                self.assertEqual(site.run("T2", *command), f"deadlock {incident}")
            self.assertEqual(site.run("T2", "rollback"), "ok")
            self.assertEqual(site.run("T1", "commit"), "ok")
        self.assertEqual(a.answer(bystander), "ok")
        self.assertEqual(a.run("by", "get", "k2"), "ok one")
        # Its id may be used again.
        a.begin("T2", 1)
        self.assertEqual(a.run("T2", "put", "k3", "two"), "ok")
        self.assertEqual(a.run("T2", "commit"), "ok")
        self.assertEqual(a.status()["waits"] + b.status()["waits"], 0)

    def test_a_site_of_another_kind(self):
        [rocks] = self.sites("rocks")
        table = self.enter(LockTable("table", self.coordinator.endpoint))
        self.coordinator.cli.wait_for_sites("table")
        for victim, survivor in (("T2", "T1"), ("T3", "T4")):  # the victim waits in RocksDB, then in the other
            with self.subTest(victim=victim):
                for txn in (victim, survivor):
                    start = 2 if txn == victim else 1
                    rocks.begin(txn, start)
                    table.begin(txn, start)
                in_rocks, in_table = (victim, survivor) if victim == "T2" else (survivor, victim)
                self.assertEqual(rocks.run(in_table, "put", "k", "v"), "ok")
                table.lock(in_rocks, "r").result(0)
                waiting = rocks.send_waiting(in_rocks, "put", "k", "v")
                other = table.lock(in_table, "r")
                if victim == in_rocks:
                    self.assertRegex(rocks.answer(waiting), r"^deadlock \S+$")
                    other.result(10)
                else:
                    with self.assertRaises(Aborted):
                        other.result(10)
                    self.assertEqual(rocks.answer(waiting), "ok")
                    self.assertRegex(rocks.run(victim, "commit"), r"^deadlock \S+$")
                self.assertEqual(rocks.run(survivor, "commit"), "ok")
                rocks.run(victim, "rollback")
                for txn in (victim, survivor):
                    table.end(txn)


class OneSiteTest(WithCoordinator):
    def setUp(self):
        super().setUp()
        [self.site] = self.sites("s")

    def graph(self):
        waits = ga.ask(self.coordinator.endpoint, "graph")["waits"]
        return {(wait["waiter"], blocker["txn"]) for wait in waits for blocker in wait["blockers"]}

    def wait_for_edges(self, *edges):
        wait_until(lambda: self.graph() == set(edges), 10, lambda: f"{edges}: {self.graph()}", 0.01)

    def test_of_upgraders_all_but_one_are_victims(self):
        names = ["T1", "T2", "T3", "T4"]
        for start, txn in enumerate(names):
            self.site.begin(txn, start)
            self.assertEqual(self.site.run(txn, "share", "k"), "none")
        upgrades = {txn: self.site.send(txn, "put", "k", txn) for txn in names}
        answers = {txn: self.site.answer(number) for txn, number in upgrades.items()}
        self.assertEqual(answers.pop("T1"), "ok")
        for answer in answers.values():
            self.assertRegex(answer, r"^deadlock \S+$")
        self.assertEqual(self.site.run("T1", "commit"), "ok")
        self.resolved(len(incidents(self.coordinator)))
        self.assertEqual([(w, b) for w, b in self.edges() if w == b], [])  # RocksDB lists them among their own blockers

    def test_a_blocker_gained_after_the_wait_began_is_seen(self):
        for start, txn in enumerate(("T1", "T2", "T3")):
            self.site.begin(txn, start)
        self.assertEqual(self.site.run("T2", "put", "mine", "v"), "ok")
        self.assertEqual(self.site.run("T1", "share", "k"), "none")
        waiting = self.site.send_waiting("T2", "put", "k", "v")
        self.wait_for_edges(("T2", "T1"))
        self.assertEqual(self.site.run("T3", "share", "k"), "none")  # RocksDB lets it in, past the one who waits
        self.wait_for_edges(("T2", "T1"), ("T2", "T3"))
        self.assertRegex(self.site.run("T3", "put", "mine", "v"), r"^deadlock \S+$")
        self.wait_for_edges(("T2", "T1"))
        self.assertEqual(self.site.run("T1", "rollback"), "ok")
        self.assertEqual(self.site.answer(waiting), "ok")
        self.wait_for_edges()

    def test_a_chain_deeper_than_rocksdb_looks_is_no_deadlock(self):
        names = [f"T{i}" for i in range(60)]  # deadlock_detect_depth is 50
        waiting = {}
        for i, txn in enumerate(names):
            self.site.begin(txn, i)
            self.assertEqual(self.site.run(txn, "put", f"k{i}", "v"), "ok")
            if i > 0:
                waiting[txn] = self.site.send_waiting(txn, "put", f"k{i - 1}", "v")
        self.assertEqual(self.site.status()["waits"], 59)
        for txn in names:
            if txn in waiting:
                self.assertEqual(self.site.answer(waiting[txn]), "ok")
            self.assertEqual(self.site.run(txn, "commit"), "ok")
        self.assertEqual(incidents(self.coordinator), [])

    def test_a_timeout_is_no_deadlock_and_the_transaction_goes_on(self):
        self.site.begin("T1", 1)
        self.site.begin("T2", 2, 50)
        self.assertEqual(self.site.run("T1", "put", "k", "v"), "ok")
        self.assertEqual(self.site.run("T2", "put", "other", "v"), "ok")
        self.assertEqual(self.site.run("T2", "put", "k", "v"), "timeout")
        self.assertEqual(self.site.status()["waits"], 0)
        self.assertEqual(self.site.run("T2", "commit"), "ok")
        self.assertEqual(self.site.run("T2", "put", "k", "v"), "ended")
        self.assertEqual(self.site.run("T1", "commit"), "ok")

    def test_what_is_locked_past_the_adapter_blocks_under_a_local_name(self):
        self.site.begin("T1", 1)
        self.assertEqual(self.site.run("-", "stranger", "k"), "OK")
        waiting = self.site.send_waiting("T1", "put", "k", "v")
        wait_until(self.graph, 10, "the wait is published", 0.01)
        [(waiter, blocker)] = self.graph()
        self.assertEqual(waiter, "T1")
        self.assertRegex(blocker, r"^s/\d+/\d+$")
        self.assertEqual(self.site.run("-", "stranger_ends"), "OK")
        self.assertEqual(self.site.answer(waiting), "ok")

    def test_an_id_that_is_running_is_refused(self):
        self.site.begin("T1", 1)
        self.assertRegex(self.site.run("T1", "begin", 2), "^invalid transaction T1 is running at site s already")
        self.assertEqual(self.site.run("T1", "put", "k", "v"), "ok")


class OrderTest(unittest.TestCase):
    """T1 holds k; T2 holds m and waits for k. The coordinator is driven by hand."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.coordinator = stack.enter_context(Coordinator())
        self.site = stack.enter_context(Site("s", self.coordinator.endpoint))
        self.incarnation = self.coordinator.accept()
        for start, (txn, key) in enumerate((("T1", "k"), ("T2", "m"), ("T3", "n"))):
            self.site.begin(txn, start)
            self.assertEqual(self.site.run(txn, "put", key, "v"), "ok")
        self.waiting = self.site.send("T2", "put", "k", "v")
        self.number, self.sequence, blockers = self.coordinator.wait_of("T2")
        self.assertEqual(blockers, ["T1"])

    def confirmed(self):
        self.coordinator.send(ga.CONFIRM, EPOCH, self.incarnation, 9, [[self.sequence, "T1", self.number]])
        _, (_, denied, *_) = self.coordinator.expect(ga.CONFIRMED)
        self.assertIn(denied, ([], [[self.sequence, "T1"]]))
        return denied == []

    def order(self, victim, role, attempt=0):
        self.coordinator.send(ga.ABORT, EPOCH, self.incarnation, 3, "5-1", victim, self.sequence, role, attempt, 2000, "test")
        _, fields = self.coordinator.expect(ga.ABORTED)
        return fields[1]

    def test_the_waiting_victim(self):
        self.assertTrue(self.confirmed())
        began = time.monotonic()
        self.assertEqual(self.order("T2", ga.WAITING), ga.DONE)
        self.assertLess(time.monotonic() - began, 0.1)  # there and back, and no slice of a lock timeout
        # Done means free: who asks now does not wait.
        self.assertEqual(self.site.run("T3", "put", "m", "v"), "ok")
        self.assertEqual(self.site.status()["waits"], 0)
        self.assertEqual(self.site.answer(self.waiting), "deadlock 5-1")
        self.assertEqual(self.order("T2", ga.WAITING, attempt=1), ga.DONE)  # the first answer may have been lost
        self.assertFalse(self.confirmed())

    def test_the_holding_victim_is_rolled_back_without_a_call_of_its_own(self):
        self.assertEqual(self.order("T1", ga.HOLDING), ga.DONE)
        self.assertEqual(self.site.answer(self.waiting), "ok")
        self.assertEqual(self.site.run("T1", "commit"), "deadlock 5-1")
        self.assertEqual(self.site.run("T2", "commit"), "ok")
        self.site.run("T1", "rollback")
        self.site.begin("T1", 1)
        self.assertEqual(self.site.run("T1", "get", "k"), "ok v")  # of T2: what T1 wrote is gone

    def test_the_holding_victim_waits_here_too(self):
        self.assertEqual(self.site.run("T3", "lock", "z"), "none")
        other = self.site.send_waiting("T1", "put", "z", "v")
        self.assertEqual(self.order("T1", ga.HOLDING), ga.DONE)
        self.assertEqual(self.site.answer(other), "deadlock 5-1")
        self.assertEqual(self.site.answer(self.waiting), "ok")

    def test_a_wait_that_ended_by_itself_is_denied_and_an_order_that_comes_late_does_nothing(self):
        self.assertEqual(self.site.run("T1", "commit"), "ok")
        self.assertFalse(self.confirmed())
        self.assertEqual(self.site.answer(self.waiting), "ok")
        for victim, role in (("T2", ga.WAITING), ("T1", ga.HOLDING), ("T2", ga.HOLDING), ("nobody", ga.WAITING)):
            self.assertEqual(self.order(victim, role), ga.STALE)
        self.assertEqual(self.order("T2", ga.WAITING, attempt=1), ga.STALE)
        # Another wait of the same transaction is none of the order's business.
        later = self.site.send_waiting("T2", "put", "n", "v")
        self.assertEqual(self.order("T2", ga.WAITING, attempt=2), ga.STALE)
        self.assertEqual(self.order("T3", ga.HOLDING, attempt=2), ga.STALE)  # it blocks a wait, but not that one
        self.assertIsNone(self.site.answered(later))
        self.assertEqual(self.site.run("T3", "commit"), "ok")
        self.assertEqual(self.site.answer(later), "ok")
        self.assertEqual(self.site.run("T2", "commit"), "ok")

    def test_an_order_does_not_reach_the_next_transaction_of_that_id(self):
        self.assertEqual(self.site.run("T1", "commit"), "ok")
        self.assertEqual(self.site.answer(self.waiting), "ok")
        for start, txn in enumerate(("T1", "R")):
            self.site.run(txn, "rollback")
            self.site.begin(txn, start)
            self.assertEqual(self.site.run(txn, "share", "s"), "none")
        writer = self.site.send_waiting("T3", "put", "s", "v")
        _, self.sequence, blockers = self.coordinator.wait_of("T3")
        self.assertEqual(blockers, ["R", "T1"])
        self.assertEqual(self.site.run("T1", "rollback"), "ok")  # told of the abort at another site, it does so itself
        self.site.begin("T1", 1)
        self.assertEqual(self.site.run("T1", "share", "s"), "none")  # and the writer still waits, for both
        again = self.sequence
        while again == self.sequence or blockers != ["R", "T1"]:
            _, again, blockers = self.coordinator.wait_of("T3")
        self.assertEqual(self.order("T1", ga.HOLDING), ga.STALE)
        for txn in ("R", "T1"):
            self.assertEqual(self.site.run(txn, "commit"), "ok")
        self.assertEqual(self.site.answer(writer), "ok")

    def test_an_order_for_a_blocker_that_waits_for_nobody_is_not_taken_for_one_that_waits(self):
        self.assertEqual(self.order("T1", ga.WAITING), ga.STALE)
        self.assertEqual(self.order("T3", ga.HOLDING), ga.STALE)
        self.assertTrue(self.confirmed())
        self.assertEqual(self.site.run("T1", "rollback"), "ok")
        self.assertEqual(self.site.answer(self.waiting), "ok")


class StressTest(unittest.TestCase):
    def stress(self, workload, transactions):
        """The counts of a run, and its incidents."""
        with Gordiand() as coordinator, tempfile.TemporaryDirectory(prefix="gordian-") as folder:
            out = run(os.environ["GORDIAN_ROCKSDB"] + "/rocksdb_stress", workload, coordinator.endpoint, folder, transactions)
            return {name: int(count) for name, count in (word.split("=") for word in out.split())}, incidents(coordinator)

    def test_transfers_lose_no_money_and_none_hangs(self):
        counts, found = self.stress("transfers", 2000)
        self.assertGreater(counts["deadlocks"], 0)
        self.assertEqual(counts, {"committed": 2000, "deadlocks": counts["deadlocks"], "other_errors": 0, "sum": 8000, "waits": 0})
        # A victim is told once, whatever its incident has left to do at the other site.
        self.assertEqual(sum(len(incident["victims"]) for incident in found), counts["deadlocks"])

    def test_where_no_deadlock_can_arise_none_is_found(self):
        counts, found = self.stress("orderly", 5000)
        self.assertEqual(counts, {"committed": 5000, "deadlocks": 0, "other_errors": 0, "sum": 8000, "waits": 0})
        self.assertEqual(found, [])


class ExampleTest(unittest.TestCase):
    def test_transfers_cross_and_both_end(self):
        with Gordiand() as coordinator, tempfile.TemporaryDirectory(prefix="gordian-") as folder:
            lines = run(os.environ["GORDIAN_EXAMPLES"] + "/rocksdb_transfers", folder,
                        GORDIAN_COORDINATOR=coordinator.endpoint).splitlines()
            # More than once where the victim, run again, is quicker than the one that was waiting: RocksDB has no queues.
            found = incidents(coordinator)
            self.assertEqual({tuple(incident["victims"]) for incident in found}, {("transfer-2",)})
            self.assertEqual({line for line in lines if "aborted" in line},
                             {f"transfer-2: aborted, deadlock {incident['id']}" for incident in found})
            self.assertEqual(sorted(line for line in lines if "aborted" not in line),
                             ["north: 0", "south: 0", "transfer-1: committed", "transfer-2: committed"])


if __name__ == "__main__":
    unittest.main()
