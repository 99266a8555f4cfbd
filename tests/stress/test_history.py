"""The checker judges crafted histories: it must bite, and only where something is wrong."""

import pathlib
import tempfile
import unittest

from history import History


def check(*logs):
    """Each log is one client's; lines are separated by `;`. The kinds of what is wrong."""
    history = History()
    for log in logs:
        history.read([line.strip() for line in log.split(";") if line.strip()])
    return [kind for kind, _ in history.check()]


class HandoverTest(unittest.TestCase):
    def test_release_then_grant(self):
        self.assertEqual(check("session 0; ask 1 A r X; grant 1 A r X 1 1 11; release 2 A r X",
                               "session 0; ask 1 B r X; grant 2.1 B r X 1 2 12; end 3 B"), [])

    def test_grant_before_the_release(self):
        self.assertEqual(check("session 0; grant 1 A r X 1 1 11; release 2 A r X",
                               "session 0; grant 1.9 B r X 1 2 12; end 3 B"), ["double grant"])

    def test_end_releases_everything(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 1 A s X 1 2 11; end 2 A",
                               "grant 2.1 B r X 1 3 12; grant 2.1 B s X 1 4 12"), [])
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 1 A s X 1 2 11; release 2 A r X",
                               "grant 2.1 B r X 1 3 12; grant 2.1 B s X 1 4 12"), ["double grant"])

    def test_resources_are_apart(self):
        self.assertEqual(check("grant 1 A r X 1 1 11", "grant 1 B s X 1 1 11"), [])

    def test_a_release_of_what_is_not_held_is_no_history(self):
        for log in ("release 2 A r X", "grant 1 A r S 1 1 9; release 2 A r X", "nonsense 1 A", "grant 1 A r X 1 1 9; end 2 A; release 2 A r X"):
            self.assertRaises(ValueError, check, log)


class LeaseTest(unittest.TestCase):
    def test_killed_holder_holds_to_its_deadline(self):
        self.assertEqual(check("grant 1 A r X 1 1 11", "grant 11 B r X 1 2 20"), [])
        self.assertEqual(check("grant 1 A r X 1 1 11", "grant 10.9 B r X 1 2 20"), ["double grant"])

    def test_renewals_move_the_deadline(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; keep 5 15", "grant 14 B r X 1 2 20"), ["double grant"])
        self.assertEqual(check("grant 1 A r X 1 1 11; keep 5 15", "grant 15 B r X 1 2 25"), [])
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 5 A s X 1 1 15", "grant 14 B r X 1 2 20"), ["double grant"])

    def test_a_grant_by_an_agent_with_less_time_brings_the_deadline_forward(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 5 A s X 2 1 9; pause 5 s 0", "grant 10 B r X 1 2 20"), [])
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 5 A s X 2 1 9; pause 5 s 0", "grant 8 B r X 1 2 20"), ["double grant"])

    def test_a_deadline_that_is_over_moves_nothing(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; keep 15 15; end 15 A", "grant 14 B r X 1 2 20; end 16 B"), [])
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 15 A s X 1 1 15; end 15 A", "grant 14 B r X 1 2 20; end 16 B"), [])

    def test_a_new_session_does_not_keep_the_old_one(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; session 12; keep 12 30", "grant 13 B r X 1 2 20"), [])

    def test_release_after_the_deadline_does_not_lengthen(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; release 30 A r X", "grant 12 B r X 1 2 20; end 13 B"), [])

    def test_a_grant_seen_after_its_deadline_counts_for_nothing(self):
        self.assertEqual(check("grant 15 A r X 1 1 11", "grant 12 B r X 1 2 20"), [])

    def test_lease_lost_does_not_shorten(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; lost 3 A lease_lost; end 3 A", "grant 4 B r X 1 2 20"), ["double grant"])


class ModeTest(unittest.TestCase):
    def test_shared_holders(self):
        self.assertEqual(check("grant 1 A r S 1 1 11", "grant 2 B r S 1 2 12", "grant 3 C r S 1 3 13"), [])
        self.assertEqual(check("grant 1 A r S 1 1 11", "grant 2 B r S 1 2 12", "grant 3 C r X 1 3 13"), ["double grant"] * 2)
        self.assertEqual(check("grant 1 A r X 1 1 11", "grant 2 B r S 1 2 12"), ["double grant"])

    def test_shared_fences_may_come_in_any_order(self):
        self.assertEqual(check("grant 1 A r S 1 2 11; end 2 A", "grant 3 B r S 1 1 12"), [])

    def test_owner_aware(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 2 A r X 1 1 11; grant 3 A r S 1 1 11; release 4 A r S; end 5 A"), [])

    def test_one_transaction_of_two_processes(self):
        self.assertEqual(check("grant 1 A r X 1 1 11", "grant 2 A r X 1 1 12"), [])

    def test_reentrant_lock_is_held_until_the_last_release(self):
        twice = "grant 1 A r X 1 1 11; grant 2 A r X 1 1 11; release 3 A r X"
        self.assertEqual(check(twice, "grant 4 B r X 1 2 14"), ["double grant"])
        self.assertEqual(check(twice + "; release 3.5 A r X", "grant 4 B r X 1 2 14"), [])

    def test_upgrade(self):
        upgrade = "grant 1 A r S 1 1 11; ask 2 A r X; grant 3 A r X 1 3 13; end 4 A"
        self.assertEqual(check(upgrade, "grant 1.5 B r S 1 2 11; end 2.5 B"), [])
        self.assertEqual(check(upgrade, "grant 1.5 B r S 1 2 11; end 3.5 B"), ["double grant"])


class AbortTest(unittest.TestCase):
    def test_a_victim_holds_until_it_asked(self):
        victim = "grant 1 A r X 1 1 11; ask 2 A s X; fail 5 A deadlock"
        self.assertEqual(check(victim, "grant 3 B r X 1 2 13"), [])
        self.assertEqual(check(victim, "grant 1.9 B r X 1 2 13"), ["double grant"])

    def test_killed_while_it_asked(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; ask 2 A s X", "grant 3 B r X 1 2 13"), [])
        self.assertEqual(check("grant 1 A r X 1 1 11; ask 2 A s X; session 3", "grant 3 B r X 1 2 13"), [])

    def test_lease_lost_while_it_asked(self):
        for why in ("lease_lost", "unreachable"):
            lost = f"grant 1 A r X 1 1 11; ask 2 A s X; fail 5 A {why}; lost 5 A lease_lost; end 5 A"
            self.assertEqual(check(lost, "grant 3 B r X 1 2 13"), [])
            self.assertEqual(check(lost, "grant 1.9 B r X 1 2 13"), ["double grant"])

    def test_a_request_that_failed_alone_leaves_the_rest(self):
        for why in ("timeout", "refused", "cancelled"):
            self.assertEqual(check(f"grant 1 A r X 1 1 11; ask 2 A s X; fail 5 A {why}", "grant 6 B r X 1 2 13"), ["double grant"])

    def test_one_of_several_transactions(self):
        self.assertEqual(check("grant 1 A r X 1 1 11; grant 1 C s X 1 1 11; ask 2 A t X; fail 5 A deadlock",
                               "grant 3 B s X 1 2 13"), ["double grant"])


class FenceTest(unittest.TestCase):
    def test_growing(self):
        self.assertEqual(check("grant 1 A r X 1 9 11; end 2 A; grant 5 C r X 2 1 15", "grant 3 B r S 1 10 11; end 4 B"), [])

    def test_back(self):
        for fence in ("1 8", "0 99"):
            self.assertEqual(check("grant 1 A r X 1 9 11; end 2 A", f"grant 3 B r X {fence} 11"), ["fence back"])
        self.assertEqual(check("grant 1 A r S 1 9 11; end 2 A", "grant 3 B r X 1 8 11"), ["fence back"])
        self.assertEqual(check("grant 1 A r X 1 9 11; end 2 A", "grant 3 B r S 1 8 11"), ["fence back"])

    def test_back_behind_a_shared_one(self):
        self.assertEqual(check("grant 1 A r X 1 9 11; end 2 A; grant 2.1 D r S 1 4 11; end 2.5 D", "grant 3 B r X 1 8 11"),
                         ["fence back"] * 2)

    def test_the_same_fence_for_two(self):
        self.assertIn("fence back", check("grant 1 A r X 1 9 11; end 2 A", "grant 3 B r X 1 9 11"))
        self.assertEqual(check("grant 1 A r S 1 9 11", "grant 3 B r S 1 9 11"), ["fence back"])

    def test_ones_own_fence_may_stay_but_not_shrink(self):
        self.assertEqual(check("grant 1 A r X 1 9 11; release 2 A r X; grant 3 A r X 1 10 11"), [])
        self.assertEqual(check("grant 1 A r X 1 9 11; release 2 A r X; grant 3 A r X 1 8 11"), ["fence back"])


class LogTest(unittest.TestCase):
    def test_a_cut_line_is_passed_over(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "a.log").write_text("grant 1 A r X 1 1 11\ngrant 2 A s X 1 1 1")
            (pathlib.Path(folder) / "b.log").write_text("")
            history = History()
            history.read_folder(folder)
            self.assertEqual((history.grants, history.check()), (1, []))

    def test_counts(self):
        history = History()
        history.read(["ask 1 A r X", "fail 2 A timeout", "ask 1 A r X", "fail 2 A timeout", "fail 3 B deadlock"])
        self.assertEqual((history.grants, history.fails), (0, {"timeout": 2, "deadlock": 1}))


if __name__ == "__main__":
    unittest.main()
