"""Faults of agents and of their servers while transactions wait: killed, stopped, doubled; a server that hangs."""

import unittest

from faults_case import SHORT_LEASE, FaultCase
from harness import wait_until
from postgres_case import FAST, error_of


class KilledAgentTest(FaultCase):
    def test_killed_while_a_deadlock_of_its_waits_is_being_confirmed(self):
        self.start_gordian(*SHORT_LEASE)
        first, second, one = self.half_crossing()
        self.suspend("b")  # the question will reach it, and it will never answer
        two = self.close_crossing_at_a(second)
        self.wait_for_counter("candidates")
        self.agents["b"].kill()
        self.wait_for_state("b", "missing")
        status = self.cli.status()
        self.assertTrue(status["degraded"])
        self.assertEqual(self.cli.site("b")["waits"], 0)
        self.assertEqual(self.edges(), {("second", "first", "hard")})
        self.assertGreater(status["counters"]["leases_lost"], 0)
        self.assert_nobody_aborted(one, two)
        self.start_agent("b")
        incident = self.assert_resolved(first, second, one, two)
        self.assertEqual(incident["victims"], ["second"])
        self.assertFalse(self.cli.status()["degraded"])

    def test_killed_and_started_within_its_lease(self):
        self.start_gordian("--heartbeat", "500ms", "--lease", "20s")
        first, second, one = self.half_crossing()
        incarnation = self.cli.site("b")["incarnation"]
        self.agents["b"].kill()
        two = self.close_crossing_at_a(second)
        self.start_agent("b")
        self.assert_resolved(first, second, one, two)
        self.assertGreater(self.cli.site("b")["incarnation"], incarnation)


class StoppedAgentTest(FaultCase):
    def test_a_deadlock_that_closes_meanwhile_is_found_afterwards(self):
        self.start_gordian(*SHORT_LEASE)
        first, second, one = self.half_crossing()
        self.suspend("b")
        self.wait_for_state("b", "missing")
        two = self.close_crossing_at_a(second)
        self.wait_for_edges({("second", "first", "hard")})
        self.assert_nobody_aborted(one, two)
        self.resume("b")
        self.assert_resolved(first, second, one, two)

    def test_what_it_still_believes_when_it_goes_on_aborts_nobody(self):
        self.start_gordian(*SHORT_LEASE)
        first, second, one = self.half_crossing()
        self.suspend("b")
        self.wait_for_state("b", "missing")
        self.servers["b"].run(f"select pg_cancel_backend({first['b'].pid})")
        self.assertIn("canceling statement", error_of(one))
        two = self.close_crossing_at_a(second)  # with the wait that b's agent still believes in, a deadlock
        self.wait_for_edges({("second", "first", "hard")})
        self.resume("b")
        self.wait_for_state("b", "complete")
        self.wait_for_edges({("second", "first", "hard")})
        self.assert_nobody_aborted(two)
        first["a"].commit()
        two.result(10)
        self.assertEqual(self.incidents(), [])


class DuplicateSiteTest(FaultCase):
    def test_the_second_agent_of_a_site_is_refused_until_the_first_is_gone(self):
        self.start_gordian(*SHORT_LEASE)
        first_agent, incarnation = self.agents["a"], self.cli.site("a")["incarnation"]
        second_agent = self.start_agent("a", "--label", "the second one")
        second_agent.wait_for_output("duplicate_site: site a has a live agent already .*stop it, or give this one another")
        self.resolve_a_crossing("both")
        self.assertEqual(self.cli.site("a")["incarnation"], incarnation)
        self.assertTrue(second_agent.running())
        first_agent.kill()
        wait_until(lambda: self.cli.site("a")["label"] == "the second one" and self.cli.site("a")["state"] == "complete", 15,
                   lambda: f"the second agent speaks for site a: {self.cli.site('a')}\n{second_agent.stderr}")
        self.assertGreater(self.cli.site("a")["incarnation"], incarnation)
        self.resolve_a_crossing("second-only")


class HangingServerTest(FaultCase):
    agent_options = FAST + ["--reply-limit", "500ms"]

    def test_a_deadlock_over_a_server_that_hangs_is_broken_when_it_goes_on(self):
        self.start_gordian()
        first, second, one = self.half_crossing()
        self.servers["b"].suspend()
        try:
            self.wait_for_edges(set())
            self.assertEqual(self.cli.site("b")["state"], "complete")  # the agent lives; it knows of no wait
            two = self.close_crossing_at_a(second)
            self.wait_for_edges({("second", "first", "hard")})
            self.assert_nobody_aborted(one, two)
        finally:
            self.servers["b"].resume()
        self.assert_resolved(first, second, one, two)
        self.assertGreaterEqual(self.agents["b"].stderr.count("connected to PostgreSQL"), 2)

    def test_a_server_that_hangs_during_the_confirmation_says_no(self):
        self.start_gordian("--confirm-timeout", "20s")
        first, second, one = self.half_crossing()
        self.suspend("b")
        two = self.close_crossing_at_a(second)
        self.wait_for_counter("candidates")
        self.servers["b"].suspend()
        try:
            self.resume("b")
            self.wait_for_counter("candidates_denied")
            self.assert_nobody_aborted(one, two)
        finally:
            self.servers["b"].resume()
        self.assert_resolved(first, second, one, two)


class CancelledByHandTest(FaultCase):
    """A user ends a wait of the cycle between detection and confirmation. See also CrossingTest, where an agent says no."""

    def cross_while_b_is_stopped(self):
        first, second, one = self.half_crossing()
        self.suspend("b")
        two = self.close_crossing_at_a(second)
        self.wait_for_counter("candidates")
        return first, second, one, two

    def cancel(self, site, client, statement):
        self.servers[site].run(f"select pg_cancel_backend({client.pid})")
        self.assertIn("canceling statement", error_of(statement))

    def test_while_no_answer_comes_in_time(self):
        self.start_gordian("--confirm-timeout", "300ms")
        first, second, one, two = self.cross_while_b_is_stopped()
        self.cancel("b", first["b"], one)
        self.wait_for_counter("confirms_timed_out")
        self.resume("b")
        self.wait_for_edges({("second", "first", "hard")})
        first["a"].commit()
        two.result(10)  # nobody aborted it
        self.assertEqual(self.incidents(), [])
        self.assertEqual(self.counter("victims"), 0)

    def test_at_a_site_that_has_said_yes_already(self):
        self.start_gordian("--confirm-timeout", "20s", "--lease", "20s")
        first, second, one, two = self.cross_while_b_is_stopped()
        self.cancel("a", second["a"], two)
        self.wait_for_edges({("first", "second", "hard")})  # a has told it, b has not answered
        self.resume("b")
        # Dissolved; or denied, should a's agent have been so slow that it had not answered before the cancel.
        wait_until(lambda: self.counter("candidates_dissolved") + self.counter("candidates_denied") > 0, 10,
                   lambda: f"the candidate is dropped: {self.cli.status()['counters']}", 0.02)
        self.assertFalse(one.done())
        second["b"].rollback()
        one.result(10)
        self.assertEqual(self.incidents(), [])
        self.assertEqual(self.counter("victims"), 0)


if __name__ == "__main__":
    unittest.main()
