"""Faults of the coordinator beside real agents and servers: killed or stopped while a deadlock stands, a clean stop."""

import json
import pathlib
import signal
import subprocess
import unittest

from faults_case import SHORT_LEASE, FaultCase
from harness.program import binary


class KilledCoordinatorTest(FaultCase):
    def missing(self):
        return {site["site"] for site in self.cli.status()["sites"] if site["state"] == "missing"}

    def test_deadlock_that_stands_when_the_coordinator_comes_back(self):
        self.start_gordian()
        epoch = self.cli.status()["epoch"]
        first, second, one = self.half_crossing()
        self.gordiand.wait_until_stored(sites=["a", "b"])
        self.gordiand.kill()
        two = self.close_crossing_at_a(second)
        for site in "ab":
            self.suspend(site)  # so that the new coordinator can be looked at before it knows anything
        self.start_gordiand()
        status = self.cli.status()
        self.assertGreater(status["epoch"], epoch)
        self.assertTrue(status["degraded"])
        self.assertEqual(self.missing(), {"a", "b"})  # known from the history
        self.resume("a")
        self.wait_until_ready("a")
        self.assertTrue(self.cli.status()["degraded"])
        self.assertEqual(self.missing(), {"b"})
        self.assert_nobody_aborted(one, two)  # half the picture is no deadlock
        self.resume("b")
        incident = self.assert_resolved(first, second, one, two)
        self.assertEqual(incident["victims"], ["second"])
        self.assertGreater(incident["epoch"], epoch)
        self.wait_until_ready("a", "b")
        self.assertFalse(self.cli.status()["degraded"])

    def test_coordinator_killed_in_the_middle_of_a_confirmation(self):
        self.start_gordian("--confirm-timeout", "20s")
        first, second, one = self.half_crossing()
        self.suspend("b")
        two = self.close_crossing_at_a(second)
        self.wait_for_counter("candidates")
        self.gordiand.kill()
        self.start_gordiand()
        self.resume("b")  # it finds the question of one that is no more
        incident = self.assert_resolved(first, second, one, two)
        self.assertEqual([i["id"] for i in self.cli.deadlocks()["incidents"]], [incident["id"]])

    def test_history_is_readable_after_kills(self):
        self.start_gordian()
        told = []
        for round_number in range(3):
            told.insert(0, self.resolve_a_crossing(f"round{round_number}"))
            self.gordiand.wait_until_stored(told[0]["id"], sites=["a", "b"])
            self.gordiand.kill()
            self.start_gordiand()
            self.assertEqual(self.cli.deadlocks()["incidents"], told)
            self.wait_until_ready("a", "b")

    def test_coordinator_stopped_for_longer_than_every_lease(self):
        self.start_gordian(*SHORT_LEASE)
        first, second, one = self.half_crossing()
        self.gordiand.signal(signal.SIGSTOP)
        two = self.close_crossing_at_a(second)
        for agent in self.agents.values():
            agent.wait_for_output("coordinator silent for")
        self.assertFalse(one.done() or two.done())
        self.gordiand.signal(signal.SIGCONT)
        self.assert_resolved(first, second, one, two)
        self.wait_until_ready("a", "b")


class CleanStopTest(FaultCase):
    def test_stop_leaves_a_record_and_a_history_that_tell_the_same_story(self):
        record = self.folder / "trace.jsonl"
        self.start_gordian("--record", record)
        incidents = [self.resolve_a_crossing("one"), self.resolve_a_crossing("two")]
        # It is stopped while somebody waits, and while it has something to do.
        holder, waiter = self.session("a", "gtx:holder"), self.session("a", "gtx:waiter")
        holder.run("select * from account where id = 1 for update")
        waiter.begin("select * from account where id = 1 for update")
        self.wait_for_edges({("waiter", "holder", "hard")})
        self.assertEqual(self.gordiand.stop(), 0)
        self.assertLess(self.gordiand.stop_seconds, 1.0)
        replayed = subprocess.run([binary("gordian"), "replay", "--format", "json", record], capture_output=True, text=True,
                                  timeout=10, check=False)
        self.assertEqual(replayed.returncode, 0, replayed.stderr)
        found = [json.loads(line) for line in replayed.stdout.splitlines()]
        self.assertEqual([story["victims"] for story in found], [incident["victims"] for incident in incidents])
        for story, incident in zip(found, incidents):
            self.assertEqual(*({(e["waiter"], e["blocker"], e["site"], e["resource"]) for e in edges}
                               for edges in (story["cycle"], incident["edges"])))
        self.assertIn('"waiter"', record.read_text().splitlines()[-1])  # complete to its end
        self.start_gordiand()
        self.assertEqual(self.cli.deadlocks()["incidents"], incidents[::-1])

    def test_agents_go_on_without_it_and_meet_the_next_one(self):
        self.start_gordian()
        for _ in range(2):
            self.assertEqual(self.gordiand.stop(), 0)
            self.start_gordiand()
            self.wait_until_ready("a", "b")
        self.resolve_a_crossing("after")
        self.assertTrue(all(agent.running() for agent in self.agents.values()))

    def test_bad_file_of_settings_is_named_with_its_line(self):
        file = pathlib.Path(self.folder) / "gordiand.toml"
        for text, line in (("policy = 'youngest'\nlease = = 3\n", 2), ("\n\nleese = '3s'\n", 3), ("lease = '3 cats'\n", 1)):
            with self.subTest(text):
                file.write_text(text)
                ended = subprocess.run([binary("gordiand"), "--config", file], capture_output=True, text=True, timeout=10,
                                       check=False)
                self.assertEqual((ended.returncode, ended.stdout), (2, ""), ended.stderr)
                self.assertIn(f"{file}:{line}", ended.stderr)


if __name__ == "__main__":
    unittest.main()
