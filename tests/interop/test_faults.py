"""Faults of the protocol, from the agent's side: each against the real coordinator."""

import contextlib
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import gordian_agent as ga  # noqa: E402
from gordian_agent import Agent, ask, decode  # noqa: E402
from harness import Gordiand, wait_until  # noqa: E402
from lock_table import Aborted, LockTable  # noqa: E402
from peer import Peer, wait_of  # noqa: E402

MIB = 1 << 20


class LossyAgent(Agent):
    """Loses the next messages of the types in `lose`, as a broken connection would; `lost` are those."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lose, self.lost = [], []

    def _send(self, frames):
        for frame in frames:
            kind, _ = decode(frame)
            if kind in self.lose:
                self.lose.remove(kind)
                self.lost.append(kind)
            else:
                super()._send([frame])


class Faults(unittest.TestCase):
    options = ("--heartbeat", "100ms", "--lease", "1s", "--abort-grace", "500ms")

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.enter_context(Gordiand(*self.options))
        self.endpoint = self.coordinator.endpoint

    def peer(self, site, **options):
        return self.stack.enter_context(Peer(self.endpoint, site, **options))

    def tables(self, agent=Agent):
        """Sites a and b, with T1 and T2 that will cross; T2 is the younger."""
        tables = [self.stack.enter_context(LockTable(site, self.endpoint, agent)) for site in ("a", "b")]
        for start, txn in enumerate(("T1", "T2")):
            for table in tables:
                table.begin(txn, start)
        tables[0].lock("T1", "r").result(0)
        tables[1].lock("T2", "r").result(0)
        wait_until(lambda: {s["site"] for s in self.status()["sites"] if s["state"] == "complete"} == {"a", "b"}, 5)
        return tables

    def status(self):
        return ask(self.endpoint, "status")

    def waits(self):
        """(site, waiter) of every wait that the coordinator knows."""
        return {(wait["site"], wait["waiter"]) for wait in ask(self.endpoint, "graph")["waits"]}

    def incidents(self):
        return ask(self.endpoint, "incidents")["incidents"]

    def assert_one_victim(self, victim, survivor):
        with self.assertRaises(Aborted):
            victim.result(5)
        survivor.result(5)
        self.assertEqual([incident["victims"] for incident in self.incidents()], [["T2"]])

    def assert_lives(self):
        """A stranger can still take part."""
        with Peer(self.endpoint, "stranger") as stranger:
            stranger.join()
            self.assertEqual(stranger.heartbeat(1), 1)

    # Losses.

    def lose(self, *kinds):
        a, b = self.tables(LossyAgent)
        a.agent.lose = list(kinds)
        survivor = b.lock("T1", "r")
        self.assert_one_victim(a.lock("T2", "r"), survivor)
        self.assertEqual(a.agent.lost, list(kinds))

    def test_a_lost_delta_is_noticed_by_the_next_heartbeat(self):
        self.lose(ga.DELTA)

    def test_a_lost_delta_and_two_lost_snapshots(self):
        self.lose(ga.DELTA, ga.SNAPSHOT, ga.SNAPSHOT)

    def test_a_lost_answer_to_a_confirmation(self):
        self.lose(ga.CONFIRMED)

    def test_a_lost_answer_to_an_order(self):
        self.lose(ga.ABORTED)

    def test_a_gap_in_the_numbers_is_answered_with_resync(self):
        a, b = self.peer("a"), self.peer("b")
        a.join(wait_of(1, "T1", "T2"))
        b.join()
        b.send(ga.DELTA, b.incarnation, 3, [])
        b.expect(ga.RESYNC)
        self.assertEqual(b.heartbeat(3), 1)
        b.send(ga.SNAPSHOT, b.incarnation, 4, 0, True, [wait_of(1, "T2", "T1")])
        b.expect(ga.CONFIRM)

    def test_an_edge_that_was_made_anew_in_a_lost_delta_is_found_after_the_snapshot(self):
        a, b = self.peer("a"), self.peer("b")
        a.join(wait_of(1, "T1", "T2"))
        b.join(wait_of(1, "T2", "T1"))
        # b lost Delta 2, which said that T1 had let go and taken the lock again.
        for peer, denied in ((a, []), (b, [[1, "T1"]])):
            _, _, confirm, edges, *_ = peer.expect(ga.CONFIRM)
            self.assertEqual(edges[0][2], 1)
            peer.send(ga.CONFIRMED, confirm, denied)
        b.send(ga.HEARTBEAT, b.incarnation, 2)
        b.expect(ga.RESYNC)
        b.send(ga.SNAPSHOT, b.incarnation, 3, 0, True, [wait_of(1, "T2", "T1")])
        for peer, since in ((a, 1), (b, 3)):
            _, _, confirm, edges, *_ = peer.expect(ga.CONFIRM)
            self.assertEqual(edges[0][2], since)
            peer.send(ga.CONFIRMED, confirm, [])
        _, _, order, _, victim, sequence, role, *_ = b.expect(ga.ABORT)
        self.assertEqual((victim, sequence, role), ("T2", 1, ga.WAITING))
        b.send(ga.DELTA, b.incarnation, 4, [[ga.END, 1]])
        b.send(ga.ABORTED, order, ga.DONE, "")
        victim, _, role = a.expect(ga.ABORT)[4:7]
        self.assertEqual((victim, role), ("T2", ga.HOLDING))

    # Confirmations.

    def test_a_denied_confirmation_aborts_nobody(self):
        a, b = self.peer("a"), self.peer("b")
        a.join(wait_of(1, "T1", "T2"))
        b.join(wait_of(1, "T2", "T1"))
        confirms = [(peer, peer.expect(ga.CONFIRM)) for peer in (a, b)]
        b.send(ga.DELTA, b.incarnation, 2, [[ga.END, 1]])
        for peer, (_, incarnation, confirm, edges) in confirms:
            self.assertEqual(incarnation, peer.incarnation)
            peer.send(ga.CONFIRMED, confirm, [edges[0][:2]] if peer is b else [])
        for peer, number in ((a, 1), (b, 2)):
            self.assertEqual(peer.heartbeat(number), number)
        self.assertEqual(self.incidents(), [])
        self.assertEqual(self.waits(), {("a", "T1")})

    def test_a_silent_agent_loses_its_waits_and_nobody_is_aborted(self):
        a, b = self.peer("a"), self.peer("b")
        a.join(wait_of(1, "T1", "T2"))
        b.join(wait_of(1, "T2", "T1"))
        _, _, confirm, _ = a.expect(ga.CONFIRM)
        a.send(ga.CONFIRMED, confirm, [])

        def alone():
            a.heartbeat(1)
            return self.waits() == {("a", "T1")}

        wait_until(alone, 5, lambda: f"b's waits are withdrawn: {self.waits()}", 0.02)
        self.assertEqual(self.incidents(), [])
        b.send(ga.HEARTBEAT, b.incarnation, 1)
        b.expect_error(ga.UNKNOWN_SESSION)

    def test_goodbye_withdraws_the_waits_at_once(self):
        a, b = self.peer("a"), self.peer("b")
        a.join(wait_of(1, "T1", "T2"))
        b.join()
        b.heartbeat(1)
        a.send(ga.GOODBYE, a.incarnation)
        wait_until(lambda: not self.waits(), 0.5, "no waits, well before the lease")

    # Sessions.

    def test_who_did_not_say_hello_is_told_so(self):
        a = self.peer("a")
        for message in ((ga.HEARTBEAT, 5, 0), (ga.DELTA, 5, 1, []), (ga.SNAPSHOT, 5, 1, 0, True, [])):
            a.send(*message)
            a.expect_error(ga.UNKNOWN_SESSION)

    def test_a_second_agent_with_a_live_ones_name_is_refused(self):
        first = self.peer("a")
        first.join(wait_of(1, "T1", "T2"))
        second = self.peer("a", incarnation=9, instance="another")

        def refused():
            first.heartbeat(1)
            second.hello()
            code, _, number, *_ = second.expect(ga.ERROR)
            self.assertIn(code, (ga.DUPLICATE_SITE, ga.WAIT_A_MOMENT))
            return code == ga.DUPLICATE_SITE

        wait_until(refused, 5, "duplicate_site", 0.02)
        self.assertEqual(self.waits(), {("a", "T1")})

    def test_the_same_process_may_say_hello_again_and_keeps_its_place(self):
        a = self.peer("a")
        a.join(wait_of(1, "T1", "T2"))
        a.hello()
        a.expect(ga.WELCOME)
        a.send(ga.SNAPSHOT, a.incarnation, 2, 0, True, [wait_of(1, "T1", "T2")])
        self.assertEqual(a.heartbeat(2), 2)

    def test_a_smaller_incarnation_is_told_the_larger_one(self):
        first = self.peer("a", incarnation=100)
        first.join()
        first.heartbeat(1)
        first.send(ga.GOODBYE, 100)
        second = self.peer("a", incarnation=100, instance="another")
        second.hello()
        _, number = second.expect_error(ga.STALE_INCARNATION)
        self.assertEqual(number, 100)
        second.incarnation = 101
        second.join()
        self.assertEqual(second.heartbeat(1), 1)

    def test_the_epoch_is_above_every_epoch_that_an_agent_has_seen(self):
        a = self.peer("a")
        a.hello(epoch_seen=1000)
        self.assertGreater(a.expect(ga.WELCOME)[0], 1000)

    # Frames that are none.

    def test_malformed_frames_are_named_and_harm_nobody(self):
        a = self.peer("a")
        a.join(wait_of(1, "T1", "T2"))
        i = a.incarnation
        delta = (1, ga.DELTA, i, 2)
        deep = []
        for _ in range(20):
            deep = [deep]
        frames = [ga.msgpack.packb(message) for message in (
            {}, 7, [], [1], [1, 99], [1, ga.HELLO], [1, ga.HELLO, "", 5, "x", 0, True, "", "", ""],
            [1, ga.HELLO, "s" * 129, 5, "x", 0, True, "", "", ""], [1, ga.HELLO, 5, 5, "x", 0, True, "", "", ""],
            [1, ga.HEARTBEAT, -1, 0], [1, ga.HEARTBEAT, i], [*delta, 5], [*delta, [[9, 1]]], [*delta, [[0, 1, "T1"]]],
            [*delta, [[0, 1, "T1", "T2", "", "", "", 0, [], []]]], [*delta, [wait_of(2, "", "T2")]],
            [*delta, [[2, "T1", float("nan"), 0, 0, 0, 0, 0, ""]]], [*delta, [[2, "T1", None, 0, 0, 0, 0, 7, ""]]],
            [*delta, deep], [*delta, [{}]], [1, ga.WELCOME, 1, 1, 1], [1, ga.CONFIRMED, 1], [1, ga.ABORTED, 1, 0])]
        frames += [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x94\x01\x02", ga.encode(ga.HEARTBEAT, i, 1) + b"\x00",
                   b"\xdb\xff\xff\xff\xff", ga.msgpack.packb([1, ga.HEARTBEAT, ga.msgpack.ExtType(1, b"x"), 0])]
        for frame in frames:
            with self.subTest(frame=frame[:40]):
                a.send_raw(frame)
                text, _ = a.expect_error(ga.MALFORMED)
                self.assertTrue(text)
        a.send_raw(ga.encode(ga.HEARTBEAT, i, 1), b"second frame")
        a.expect_error(ga.MALFORMED)
        self.assertEqual(a.heartbeat(1), 1)  # the session has survived
        self.assertEqual(self.waits(), {("a", "T1")})

    def test_another_version_is_refused(self):
        a = self.peer("a")
        for version in (0, 2, 2**63):
            a.send_raw(ga.msgpack.packb([version, ga.HEARTBEAT, 5, 1]))
            a.expect_error(ga.WRONG_VERSION)

    def test_a_message_above_the_limit_is_refused_and_one_far_above_ends_the_connection(self):
        a = self.peer("a")
        a.join()
        a.send_raw(ga.encode(ga.HELLO, "a", 5, "x" * (4 * MIB), 0, True, "", "", ""))
        a.expect_error(ga.TOO_LARGE)
        self.assertEqual(a.heartbeat(1), 1)
        far = self.peer("far")
        far.join()
        far.send_raw(b"x" * (16 * MIB + 1))
        far.expect_disconnect()
        self.assertEqual(a.heartbeat(1), 1)
        self.assert_lives()

    def test_limits_within_a_message(self):
        a = self.peer("a")
        a.join()
        for changes in ([[ga.END, 1]] * 20_001, [wait_of(1, "T1", *(f"B{i}" for i in range(10_001)))]):
            a.send(ga.DELTA, a.incarnation, 2, changes)
            a.expect_error(ga.TOO_LARGE)
        a.send(ga.DELTA, a.incarnation, 2, [[ga.END, 1]] * 20_000)
        self.assertEqual(a.heartbeat(2), 2)

    # The coordinator's own end.

    def test_a_deadlock_that_stands_while_the_coordinator_is_killed_is_found_by_the_next_one(self):
        a, b = self.tables()
        survivor = b.lock("T1", "r")
        wait_until(lambda: self.waits() == {("b", "T1")}, 5)
        self.coordinator.kill()
        victim = a.lock("T2", "r")
        again = Gordiand(*self.options, listen=self.endpoint, history=self.coordinator.history)
        self.stack.enter_context(again)
        self.assert_one_victim(victim, survivor)

    def test_a_coordinator_killed_in_the_middle_of_a_confirmation(self):
        a, b = self.peer("a"), self.peer("b")
        epoch = a.join(wait_of(1, "T1", "T2"))[0]
        b.join(wait_of(1, "T2", "T1"))
        for peer in (a, b):
            peer.expect(ga.CONFIRM)
        self.coordinator.kill()
        self.stack.enter_context(Gordiand(*self.options, listen=self.endpoint, history=self.coordinator.history))
        for peer, waiter, blocker in ((a, "T1", "T2"), (b, "T2", "T1")):
            peer.hello()
            self.assertGreater(peer.expect(ga.WELCOME)[0], epoch)
            peer.send(ga.SNAPSHOT, peer.incarnation, 2, 0, True, [wait_of(1, waiter, blocker)])
        for peer in (a, b):
            new_epoch, _, confirm, edges, *_ = peer.expect(ga.CONFIRM)
            self.assertGreater(new_epoch, epoch)
            peer.send(ga.CONFIRMED, confirm, [])
        self.assertEqual(b.expect(ga.ABORT)[4], "T2")


if __name__ == "__main__":
    unittest.main()
