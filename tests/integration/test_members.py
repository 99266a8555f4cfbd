"""Several gordiands that share the graph: they find each other, agents find all of them, deadlocks across them are broken."""

import contextlib
import pathlib
import signal
import subprocess
import tempfile
import unittest

from harness import Cluster, Gordian, LockAgent, LockPeer, wait_until
from harness import lock_peer as lp
from harness.program import binary

SHORT_LEASE = ["--heartbeat", "250ms", "--lease", "1500ms"]


class MembersCase(unittest.TestCase):
    def setUp(self):
        self.stack = self.enterContext(contextlib.ExitStack())
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))

    def cluster(self, size, *arguments, **more):
        return self.stack.enter_context(Cluster(size, *arguments, **more))

    def agents(self, count, coordinator):
        """Lock agents s0, s1, … and a client of each."""
        self.sites = [f"s{number}" for number in range(count)]
        self.peers = []
        for site in self.sites:
            agent = self.stack.enter_context(LockAgent(site, self.folder / site, "--publish-after", "0", coordinator=coordinator))
            self.peers.append(self.stack.enter_context(LockPeer(agent.endpoint)))
            self.peers[-1].open(1, ttl_ms=60_000)

    # Each of t0, t1, … holds the lock of its own site, and waits for that of the next one.
    def hold(self, count):
        for number in range(count):
            status, *_ = self.peers[number % len(self.peers)].lock(1, self.number(number), f"t{number}", f"r{number}")
            self.assertEqual(status, lp.DONE)

    def wait_for_next(self, count, numbers):
        for number in numbers:
            to = (number + 1) % count
            self.peers[to % len(self.peers)].request(lp.LOCK, 1, 1000 + self.number(number), f"t{number}", None, None, 0, 0,
                                                     [[f"r{to}", "X"]])

    def outcome(self, at, number):
        """(status, incident) of the waiting request of t`number`, once it is over."""
        while True:
            status, _, _, incident = self.peers[at % len(self.peers)].reply(1, 1000 + self.number(number))
            if status != lp.WAITING:
                return status, incident.decode()

    @staticmethod
    def number(of):
        return 1 + of

    def waiters_at(self, cluster):
        """{member: [waiter, …]}"""
        return {name: sorted(wait["waiter"] for wait in cluster.members[name].cli.graph()["waits"]) for name in cluster.names}

    def settled(self, cluster, timeout=30.0):
        """The one incident of all members, once it is settled."""
        def all_incidents():
            return [incident for member in cluster.incidents().values() for incident in member]

        wait_until(lambda: any(i["outcome"] == "resolved" for i in all_incidents()), timeout,
                   lambda: f"an incident is resolved: {cluster.incidents()}, {self.waiters_at(cluster)}", 0.02)
        found = all_incidents()
        self.assertEqual(len(found), 1, found)
        self.assertEqual(len(found[0]["victims"]), 1, found)
        return found[0]


class ComeUpTest(MembersCase):
    def test_in_any_order_members_and_agents_find_each_other_and_waits_go_to_their_owners_only(self):
        cluster = self.cluster(3, *SHORT_LEASE, start=False)
        self.agents(2, cluster.coordinator)
        self.hold(12)
        self.wait_for_next(13, range(0, 11))  # a chain, no ring
        cluster.start("m2")  # not among those that the agents were told of
        self.assertEqual([(member["name"], member["self"], member["alive"]) for member in cluster.status("m2")["members"]],
                         [("m0", False, False), ("m1", False, False), ("m2", True, True)])
        cluster.start("m1")
        cluster.start("m0")
        cluster.wait_until_alive()
        cluster.wait_for_sites(*self.sites)
        expected = sorted(f"t{number}" for number in range(11))
        wait_until(lambda: sorted(sum(self.waiters_at(cluster).values(), [])) == expected, 10,
                   lambda: f"each wait is at one member: {self.waiters_at(cluster)}", 0.02)
        shares = self.waiters_at(cluster)
        self.assertGreaterEqual(sum(1 for waiters in shares.values() if waiters), 2, shares)
        table = cluster.members["m0"].cli.run("status").stdout
        self.assertRegex(table, r"m0 \(asked\) +alive +ipc://")
        cluster.members["m1"].kill()
        wait_until(lambda: "AWAY: coordinator m1" in cluster.members["m0"].cli.run("status").stdout, 10, "m1 is away", 0.05)
        cluster.start("m1")
        cluster.wait_until_alive()
        wait_until(lambda: self.waiters_at(cluster) == shares, 10,
                   lambda: f"m1 has its waits again: {shares}, {self.waiters_at(cluster)}", 0.02)
        self.assertEqual(sum(cluster.incidents().values(), []), [])

    def test_options_that_cannot_be_are_refused(self):
        def refused(*arguments):
            finished = subprocess.run([binary("gordiand"), *arguments, "--check-config"], capture_output=True, text=True, timeout=10,
                                      check=False)
            self.assertEqual(finished.returncode, 2, finished)
            return finished.stderr

        self.assertIn("--member", refused("--peer", "b=tcp://127.0.0.1:1"))
        self.assertIn("peer: b was given twice",
                      refused("--member", "a", "--peer", "b=tcp://127.0.0.1:1", "--peer", "b=tcp://127.0.0.1:2"))
        self.assertIn("--advertise", refused("--member", "a", "--listen", "tcp://127.0.0.1:*", "--peer", "b=tcp://127.0.0.1:1"))

    def test_members_with_different_lists_tell_of_it(self):
        cluster = self.cluster(2, *SHORT_LEASE, start=False)
        cluster.start("m0")
        other = cluster.start("m1", "--map-version", "2")
        other.wait_for_output("coordinator 'm0' passed over.*it goes by map 1, this one by map 2")
        self.assertEqual([member["alive"] for member in cluster.status("m0")["members"]], [True, False])


class RingTest(MembersCase):
    def test_a_ring_over_three_members_and_four_agents_is_broken_by_one_victim(self):
        cluster = self.cluster(3)
        self.agents(4, cluster.coordinator)
        cluster.wait_until_alive()
        cluster.wait_for_sites(*self.sites)
        self.hold(8)
        self.wait_for_next(8, range(8))
        incident = self.settled(cluster)
        self.assertEqual(len(incident["txns"]), 8)
        victim = int(incident["victims"][0][1:])
        to, before = (victim + 1) % 8, (victim - 1) % 8
        self.assertEqual(self.outcome(to, victim), (lp.DEADLOCK, incident["id"]))
        # Its lock is free: the one who waited for it has it.
        self.assertEqual(self.outcome(victim, before), (lp.DONE, ""))
        # Asked for all members the command line puts their answers together.
        everywhere = Gordian(",".join(cluster.endpoint(name) for name in cluster.names))
        self.assertEqual([one["id"] for one in everywhere.deadlocks()["incidents"]], [incident["id"]])
        self.assertEqual(everywhere.run("deadlocks", "--incident", incident["id"]).returncode, 0)
        rest = sorted({f"t{number}" for number in range(8)} - {f"t{victim}", f"t{before}"})
        wait_until(lambda: sorted(wait["waiter"] for wait in everywhere.graph()["waits"]) == rest, 10,
                   lambda: f"{rest} wait on: {everywhere.graph()}", 0.02)
        cluster.members["m0"].kill()
        finished = everywhere.run("deadlocks", "--timeout", "300ms")
        self.assertEqual(finished.returncode, 0, finished)
        self.assertIn("left out: no answer from the coordinator at " + cluster.endpoint("m0"), finished.stderr)
        self.assertEqual(everywhere.run("status", "--timeout", "300ms").returncode, 0)

    def test_a_member_that_owns_part_of_the_ring_is_killed_and_returns(self):
        cluster = self.cluster(3, *SHORT_LEASE)
        self.agents(4, cluster.coordinator)
        cluster.wait_until_alive()
        cluster.wait_for_sites(*self.sites)
        self.hold(12)
        self.wait_for_next(12, range(11))
        wait_until(lambda: len(sum(self.waiters_at(cluster).values(), [])) == 11, 10, lambda: str(self.waiters_at(cluster)), 0.02)
        shares = self.waiters_at(cluster)
        killed = next(name for name in cluster.names if shares[name])
        cluster.members[killed].signal(signal.SIGKILL)
        self.wait_for_next(12, [11])  # closes the ring
        cluster.start(killed)
        self.assertEqual(len(self.settled(cluster)["txns"]), 12)


if __name__ == "__main__":
    unittest.main()
