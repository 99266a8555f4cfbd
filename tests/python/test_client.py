"""The Python client against a real gordian-agent: locks, deadlocks, leases, agents that are started again."""

import signal
import threading
import time
import unittest

import gordian
from agent_case import AgentCase
from harness import Gordiand, wait_until
from harness.lock_peer import LOCK


class LockTest(AgentCase):
    def test_one_lock(self):
        with self.client.lock("orders/42", ttl=10) as grant:
            self.assertTrue(9 < grant.remaining() <= 9.8, grant.remaining())
            grant.check()
            first = grant.fence
            self.assertEqual(list(self.peers["a"].holders("orders/42").values()), ["X"])
            with self.assertRaises(gordian.Refused), self.client.lock("orders/42", wait=0):
                self.fail("it was granted twice")
        self.assertIsNone(self.peers["a"].resource("orders/42"))
        self.assertRaises(gordian.LeaseLost, grant.check)
        self.assertEqual(grant.remaining(), 0)
        with self.client.lock("orders/42") as grant:
            self.assertGreater(grant.fence, first)

    def test_again_and_upgrade(self):
        one, two = self.transaction("one"), self.transaction("two")
        shared = one.lock("a", "S")
        again = one.lock("a", "S")
        self.assertEqual(again.fence, shared.fence)
        exclusive = one.lock("a", "X")
        self.assertGreater(exclusive.fence, shared.fence)
        for grant in (shared, again):
            grant.unlock()
            self.assertRaises(gordian.Refused, two.lock, "a", "S", 0)
            self.assertRaises(gordian.NotHeld, grant.unlock)
        exclusive.unlock()
        self.assertGreater(two.lock("a", "S", 0).fence, exclusive.fence)
        self.assertRaises(gordian.NotHeld, one.unlock, exclusive)
        self.assertRaises(gordian.Invalid, one.unlock, two.lock("b"))

    def test_downgrade(self):
        one, two = self.transaction("one"), self.transaction("two")
        grant = one.lock("a")
        one.downgrade(grant, "S")
        two.lock("a", "S", 0)
        self.assertEqual([mode for _, mode, _ in one.held()], ["S"])
        self.assertRaises(gordian.NotHeld, one.downgrade, grant, "X")

    def test_waits_its_turn(self):
        one, two = self.transaction("one"), self.transaction("two")
        grant = one.lock("a")
        waiting = self.begin(two.lock, "a")
        self.wait_for_waiters("a", "two")
        self.assertFalse(waiting.done())
        grant.unlock()
        self.assertGreater(waiting.result(10).fence, grant.fence)

    def test_timeout_and_refused(self):
        one, two = self.transaction("one"), self.transaction("two")
        one.lock("a")
        self.assertRaises(gordian.Refused, two.lock, "a", wait=0)
        began = time.monotonic()
        self.assertRaises(gordian.Timeout, two.lock, "a", wait=0.3)
        self.assertTrue(0.3 <= time.monotonic() - began < 5)
        two.lock("b")  # the rest stands

    def test_cancel_from_another_thread(self):
        one, two = self.transaction("one"), self.transaction("two")
        one.lock("a")
        waiting = self.begin(two.lock, "a")
        self.wait_for_waiters("a", "two")
        two.cancel()
        self.assert_error(gordian.Cancelled, waiting)
        two.lock("b")

    def test_end_ends_everything(self):
        one, two = self.transaction("one"), self.transaction("two")
        one.lock("a")
        two.lock_all(["b", "c"])
        waiting = self.begin(two.lock, "a")
        self.wait_for_waiters("a", "two")
        two.end()
        self.assert_error(gordian.Cancelled, waiting)
        self.assertIsNone(self.peers["a"].resource("b"))
        self.assertEqual(self.peers["a"].waiters("a"), [])

    def test_an_exception_releases(self):
        with self.assertRaises(ZeroDivisionError), self.client.session() as session, session.transaction() as txn:
            txn.lock("a")
            _ = 1 // 0
        self.assertIsNone(self.peers["a"].resource("a"))

    def test_several_or_none(self):
        one, two = self.transaction("one"), self.transaction("two")
        one.lock("c")
        self.assertRaises(gordian.Refused, two.lock_all, ["a", ("b", "S"), "c"], 0)
        self.assertEqual(two.held(), [])
        self.assertIsNone(self.peers["a"].resource("a"))
        grants = two.lock_all(["z", ("b", "S"), b"a"])
        self.assertEqual([(grant.name, grant.mode) for grant in grants], [("z", "X"), ("b", "S"), (b"a", "X")])
        found = two.lock_some(["c", "d", "e"], 2)
        self.assertEqual({grant.name for grant in found}, {"d", "e"})

    def test_path(self):
        one, two = self.transaction("one"), self.transaction("two")
        grant = one.lock_path("store/shelf/9")
        self.assertEqual([(parent.name, parent.mode) for parent in grant.parents], [("store", "IX"), ("store/shelf", "IX")])
        two.lock_path("store/shelf/8", "S", 0)
        self.assertRaises(gordian.Refused, two.lock, "store", "X", 0)
        one.unlock(grant)
        self.assertEqual(self.peers["a"].holders("store/shelf"), {"two": "IS"})

    def test_intention_modes_are_the_agents(self):
        peer = self.peers["a"]
        peer.open(7)
        for number, mode in enumerate(gordian.STANDARD, 1):
            peer.ask(LOCK, 7, number, "t", None, 0, 1, 0, [[f"{mode}/b", mode]])
            self.assertEqual(peer.holders(mode), {"t": gordian.STANDARD.on_parents(mode)}, mode)

    def test_joins_are_the_agents(self):
        for held in gordian.STANDARD:
            for asked in gordian.STANDARD:
                with self.client.session() as session, session.transaction("t") as txn:
                    txn.lock("a", held)
                    txn.lock("a", asked)
                    self.assertEqual(self.peers["a"].holders("a"), {"t": txn.held()[0][1]}, (held, asked))

    def test_names_of_any_bytes(self):
        txn, other = self.transaction(bytes(range(128))), self.transaction("ü")
        names = ["a", b"\x00", b"\xff" * 1024, bytes(range(256)) * 4, "ä" * 512, " ", "\n"]
        fences = [txn.lock(name).fence for name in names]
        for name, fence in zip(names, fences):
            self.assertRaises(gordian.Refused, other.lock, name, wait=0)
            self.assertEqual(txn.lock(name).fence, fence)
        self.assertRaises(gordian.Refused, other.lock, "a".encode(), wait=0)  # text stands for its UTF-8

    def test_forced(self):
        told = threading.Event()
        txn = self.transaction("one", on_aborted=lambda _: told.set())
        txn.lock("a")
        self.peers["a"].query("unlock", {"name": "a", "why": "a test", "by": "the tester"})
        self.assertTrue(told.wait(10))
        self.assertRaisesRegex(gordian.Forced, "the tester", txn.lock, "b")

    def test_a_loss_that_nobody_was_told_of_is_told_at_the_end(self):
        told = threading.Event()
        with self.assertRaises(gordian.Forced), self.client.session() as session:
            with session.transaction("one", on_aborted=lambda _: told.set()) as txn:
                txn.lock("a")
                self.peers["a"].query("unlock", {"name": "a", "why": "a test", "by": "the tester"})
                self.assertTrue(told.wait(10))

    def test_many_threads(self):
        counter = [0]

        def add(number):
            with self.client.session() as session:
                for turn in range(20):
                    with session.transaction(f"{number}-{turn}") as txn:
                        txn.lock("counter")
                        found = counter[0]
                        time.sleep(0)  # let others run, if they can
                        counter[0] = found + 1

        futures = [self.begin(add, number) for number in range(8)]
        for future in futures:
            future.result(60)
        self.assertEqual(counter, [160])


class SpreadTest(AgentCase):
    sites = ("berlin", "paris")

    def test_every_name_at_its_agent(self):
        txn = self.transaction("t")
        for number in range(20):
            grant = txn.lock(f"n{number}")
            self.assertEqual(grant.site, self.client.site_of(f"n{number}"))
            self.assertEqual(self.peers[grant.site].holders(f"n{number}"), {"t": "X"})
        self.assertEqual(txn.lock("n0", site="paris").site, "paris")

    def test_several_at_both_or_none(self):
        names = [self.name_at(site, number) for site in self.sites for number in range(3)]
        one, two = self.transaction("one"), self.transaction("two")
        blocked = one.lock(max(names))
        self.assertRaises(gordian.Timeout, two.lock_all, names, 0.3)
        for site in self.sites:
            wait_until(lambda site=site: self.peers[site].query("locks")["resources"] in ([], [self.peers[site].resource(max(names))]), 10,
                       "what was taken is given back")
        blocked.unlock()
        self.assertEqual([grant.name for grant in two.lock_all(names, 5)], names)

    def test_path_over_agents(self):
        path = next(f"x{number}/y" for number in range(1000) if self.client.site_of(f"x{number}") != self.client.site_of(f"x{number}/y"))
        txn = self.transaction("t")
        grant = txn.lock_path(path)
        self.assertEqual(self.peers[grant.parents[0].site].holders(path.split("/")[0]), {"t": "IX"})
        grant.unlock()
        self.assertEqual([peer.query("locks")["resources"] for peer in self.peers.values()], [[], []])

    def test_one_agent_away(self):
        endpoints = {site: agent.endpoint for site, agent in self.agents.items()}
        client = self.enterContext(gordian.LockClient({**endpoints, "rome": "tcp://127.0.0.1:1"}, reply_limit=0.3))
        with client.session() as session, session.transaction() as txn:
            here = txn.lock("a", site="paris")
            self.assertRaises(gordian.Unreachable, txn.lock, "a", site="rome")
            here.check()


class DeadlockTest(AgentCase):
    sites = ("berlin", "paris")
    options = ("--publish-after", "0ms")

    def setUp(self):
        self.gordiand = self.enterContext(Gordiand())
        self.coordinator = self.gordiand.endpoint
        super().setUp()
        self.gordiand.cli.wait_for_sites(*self.sites)

    def test_across_agents(self):
        told = []
        one = self.transaction("one", start=1)
        two = self.transaction("two", start=2, on_aborted=told.append)
        one.lock("a", site="berlin")
        two.lock("a", site="paris")
        two.lock("b", site="paris")
        first = self.begin(one.lock, "a", site="paris")
        self.wait_for_waiters("a", "one", site="paris")
        error = self.assert_error(gordian.Deadlock, self.begin(two.lock, "a", site="berlin"))
        first.result(10)  # the victim's locks are free everywhere
        wait_until(lambda: self.gordiand.cli.deadlocks()["incidents"], 10, "the incident is stored")
        self.assertEqual(error.incident, self.gordiand.cli.deadlocks()["incidents"][0]["id"])
        self.assertRaises(gordian.Deadlock, two.lock, "c")
        two.end()
        wait_until(lambda: told, 10, "on_aborted was called")
        self.assertEqual([kind.incident for kind in told], [error.incident])
        wait_until(lambda: self.peers["paris"].resource("b") is None, 10, "b is free")

    def test_through_a_call_for_any_of_two(self):
        one, two, three = (self.transaction(f"t{number}", start=number) for number in (1, 2, 3))
        one.lock("a", site="paris")
        two.lock("w1", site="berlin")
        three.lock("w2", site="berlin")
        some = self.begin(one.lock_some, ["w1", "w2"], 1, site="berlin")
        self.wait_for_waiters("w1", "t1", site="berlin")
        second = self.begin(two.lock, "a", site="paris")
        self.wait_for_waiters("a", "t2", site="paris")
        self.assertFalse(some.done() or second.done())  # t3 may still give its lock back
        error = self.assert_error(gordian.Deadlock, self.begin(three.lock, "a", site="paris"))
        some.result(10)
        self.assertEqual(self.peers["berlin"].holders("w2"), {"t1": "X"})
        one.end()
        second.result(10)
        wait_until(lambda: self.gordiand.cli.deadlocks()["incidents"], 10, "the incident is stored")
        incidents = self.gordiand.cli.deadlocks()["incidents"]
        self.assertEqual([(i["id"], i["victims"]) for i in incidents], [(error.incident, ["t3"])])

    def test_upgraders(self):
        count = 5
        txns = [self.transaction(f"u{number}") for number in range(count)]
        for txn in txns:
            txn.lock("a", "S", site="paris")
        futures = [self.begin(txn.lock, "a", "X", site="paris") for txn in txns]
        ends = [future.exception(30) for future in futures]
        self.assertEqual(sorted(type(end).__name__ for end in ends), ["Deadlock"] * (count - 1) + ["NoneType"])


class LeaseTest(AgentCase):
    def test_renewed_for_longer_than_its_time_to_live(self):
        txn = self.transaction("t", ttl=0.8)
        grant = txn.lock("a")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            grant.check()
            time.sleep(0.02)
        self.assertEqual(self.peers["a"].holders("a"), {"t": "X"})

    def test_agent_that_is_silent(self):
        jeopardy, lost = [], []
        session = self.enterContext(self.client.session(1.2, on_jeopardy=jeopardy.append, on_lost=lost.append))
        txn = session.transaction("t")
        grant = txn.lock("a")
        self.agents["a"].signal(signal.SIGSTOP)
        wait_until(lambda: jeopardy, 10, "on_jeopardy was called")
        self.assertTrue(0 < jeopardy[0] < 0.4, jeopardy)
        wait_until(lambda: lost, 10, "on_lost was called")
        self.assertIsInstance(lost[0], gordian.LeaseLost)
        self.assertEqual((session.remaining(), grant.remaining()), (0, 0))
        self.assertRaises(gordian.LeaseLost, grant.check)
        self.assertRaises(gordian.LeaseLost, txn.lock, "b")
        self.assertRaises(gordian.LeaseLost, session.transaction)
        self.agents["a"].signal(signal.SIGCONT)
        with self.client.lock("a", wait=10) as later:
            self.assertGreater(later.fence, grant.fence)
        self.assertEqual((len(jeopardy), len(lost)), (1, 1))

    def test_a_callback_that_fails_or_takes_long(self):
        called = threading.Event()

        def fail(_):
            called.set()
            raise RuntimeError("the program's mistake")

        session = self.enterContext(self.client.session(0.6, on_lost=fail))
        session.transaction().lock("a")
        with self.assertLogs("gordian", "ERROR"):
            self.agents["a"].signal(signal.SIGSTOP)
            self.assertTrue(called.wait(10))
            wait_until(lambda: session.error, 5, "the session knows it")
            self.agents["a"].signal(signal.SIGCONT)
            with self.client.lock("b"):
                pass

    def test_waiting_ends_with_the_lease(self):
        one, two = self.transaction("one", ttl=5), self.transaction("two", ttl=0.8)
        one.lock("a")
        waiting = self.begin(two.lock, "a")
        self.wait_for_waiters("a", "two")
        self.agents["a"].signal(signal.SIGSTOP)
        self.assert_error(gordian.LeaseLost, waiting)
        self.agents["a"].signal(signal.SIGCONT)
        wait_until(lambda: self.peers["a"].waiters("a") == [], 10, "nobody waits any more")

    def test_time_to_live_that_the_agent_refuses(self):
        self.agents["a"].kill()
        self.start_agent("a", "--ttl-max", "1s")
        with self.client.session(2) as session, session.transaction() as txn:
            self.assertRaisesRegex(gordian.LockError, "ttl|time to live", txn.lock, "a")


class RestartTest(AgentCase):
    def again(self, *options):
        self.agents["a"].kill()
        self.start_agent("a", *options)

    def test_holders_take_back_what_they_hold(self):
        one, two = self.transaction("one", ttl=2), self.transaction("two", ttl=2)
        grants = [one.lock("a", "S"), one.lock("a", "S"), one.lock("b"), one.lock_path("p/q")]
        before = one.held()
        self.again()
        wait_until(lambda: self.client.status()["reclaims"] == 1, 10, "it reclaims")
        wait_until(lambda: len(self.peers["a"].query("locks")["resources"]) == 4, 10, "all is held again")
        self.assertEqual(one.held(), before)
        shown = self.peers["a"].resource("a")["holders"][0]
        self.assertEqual((shown["count"], gordian.Fence(**shown["fence"])), (2, grants[0].fence))
        self.assertRaises(gordian.Timeout, two.lock, "b", wait=3)  # longer than the grace period
        for grant in grants:
            grant.unlock()
        self.assertGreater(two.lock("b", wait=5).fence, grants[2].fence)
        self.assertEqual(self.peers["a"].holders("p"), {})

    def test_a_waiter_goes_on_waiting(self):
        one, two = self.transaction("one", ttl=2), self.transaction("two", ttl=2)
        grant = one.lock("a")
        waiting = self.begin(two.lock, "a")
        self.wait_for_waiters("a", "two")
        self.again()
        wait_until(lambda: self.peers["a"].waiters("a") == ["two"], 15, lambda: f"it waits again: {self.peers['a'].query('locks')}")
        grant.unlock()
        self.assertGreater(waiting.result(15).fence, grant.fence)

    def test_journal_forgets_nothing_and_has_no_grace(self):
        self.options = ("--durability", "journal")
        self.again()
        one, two = self.transaction("one", ttl=3), self.transaction("two", ttl=3)
        grant = one.lock("a")
        self.again()
        two.lock("b", wait=1)
        self.assertRaises(gordian.Refused, two.lock, "a", wait=0)
        wait_until(lambda: self.client.status()["reclaims"] == 1, 10, "it reclaims")
        grant.check()
        grant.unlock()
        self.assertGreater(two.lock("a", wait=1).fence, grant.fence)

    def test_an_unlock_and_an_end_on_their_way_when_an_agent_with_a_journal_crashes(self):
        self.options = ("--durability", "journal")
        self.again()
        one, two, other = (self.transaction(name, ttl=5) for name in ("one", "two", "other"))
        grant = one.lock("a")
        two.lock("b")
        self.agents["a"].signal(signal.SIGSTOP)  # it takes nothing any more
        unlock, end = self.begin(one.unlock, grant), self.begin(two.end)
        wait_until(lambda: self.client.status()["requests"] >= 4, 10, "both are sent")
        self.again()
        self.assertIsNone(unlock.result(10))
        self.assertIsNone(end.result(10))
        for name in ("a", "b"):
            self.assertTrue(other.lock(name, wait=5).fence)
        self.assertEqual(one.held(), [])

    def test_unlocked_while_the_agent_is_away(self):
        one, two = self.transaction("one", ttl=3), self.transaction("two", ttl=3)
        first, second = one.lock("a"), one.lock("b")
        self.agents["a"].kill()
        unlocking = self.begin(first.unlock)
        wait_until(lambda: self.client.status()["pending"] == 1, 10, "the unlock is under way")
        self.start_agent("a")
        unlocking.result(10)
        second.check()
        self.assertGreater(two.lock("a", wait=10).fence, first.fence)
        self.assertRaises(gordian.Refused, two.lock, "b", wait=0)

    def test_end_while_the_agent_is_away(self):
        one, two = self.transaction("one", ttl=3), self.transaction("two", ttl=3)
        one.lock("a")
        self.agents["a"].kill()
        ending = self.begin(one.end)
        wait_until(lambda: self.client.status()["pending"] == 1, 10, "the end is under way")
        self.start_agent("a")
        ending.result(10)
        two.lock("a", wait=10)

    def test_away_for_longer_than_the_lease(self):
        txn = self.transaction("t", ttl=0.6)
        grant = txn.lock("a")
        self.agents["a"].kill()
        wait_until(lambda: grant.remaining() == 0, 10, "the lease is over")
        self.start_agent("a")
        self.assertRaises(gordian.LeaseLost, grant.check)
        with self.client.lock("a", wait=10) as later:
            self.assertGreater(later.fence, grant.fence)
        self.assertEqual(self.client.status()["reclaims"], 0)


if __name__ == "__main__":
    unittest.main()
