"""Bad input and faults against gordian-agent: strangers, lost answers, processes that stand still, clocks that jump.

Each test has an agent of its own. What the Python client does by itself about faults: tests/python/test_client.py.
"""

import concurrent.futures
import contextlib
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "agents/python"))

import gordian  # noqa: E402
import msgpack  # noqa: E402
from harness import LockAgent, LockPeer, Program, wait_until  # noqa: E402
from harness import lock_peer as lp  # noqa: E402
from test_faults_clock import HOUR_S, Clock  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


class LockFaultCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-lock-faults-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self._programs = self.enterContext(contextlib.ExitStack())  # these end last, also those that are started again
        self.agent = None

    def start_agent(self, *options, environment=None):
        """The first one, or the same one again."""
        listen = self.agent.endpoint if self.agent else "tcp://127.0.0.1:*"
        self.agent = self._programs.enter_context(
            LockAgent("a", self.folder / "state", *options, listen=listen, environment=environment))
        return self.agent

    def new_peer(self):
        return self.enterContext(LockPeer(self.agent.endpoint))

    def new_client(self):
        return self.enterContext(gordian.LockClient(self.agent.endpoint))

    def begin(self, call, *arguments, **more):
        worker = concurrent.futures.ThreadPoolExecutor(1)
        self.addCleanup(worker.shutdown, wait=False)
        return worker.submit(call, *arguments, **more)


class StrangerTest(LockFaultCase):
    def setUp(self):
        super().setUp()
        self.start_agent()
        self.peer = self.new_peer()
        for session in (1, 2):
            self.peer.open(session)

    def test_release_by_a_stranger(self):
        _, fence, _ = self.peer.lock(1, 1, "holder", "a")
        self.assertEqual(self.peer.unlock(2, 1, "stranger", "a", fence), lp.NOT_HELD)
        # In the holder's name, from another session. To end what is not there is done at once, as ever.
        self.assertEqual(self.peer.unlock(2, 2, "holder", "a", fence), lp.NOT_HELD)
        self.assertIn(self.peer.ask(lp.END, 2, 3, "holder")[0], (lp.DONE, lp.INVALID))
        self.assertEqual(self.peer.lock(2, 4, "holder", "b")[0], lp.INVALID)
        self.assertEqual(self.peer.holders("a"), {"holder": "X"})

    def test_release_with_an_old_fence(self):
        _, old, _ = self.peer.lock(1, 1, "holder", "a")
        self.assertEqual(self.peer.unlock(1, 2, "holder", "a", old), lp.DONE)
        _, fence, _ = self.peer.lock(1, 3, "holder", "a")
        self.assertGreater(fence, old)
        self.assertEqual(self.peer.unlock(1, 4, "holder", "a", old), lp.NOT_HELD)
        self.assertEqual(self.peer.holders("a"), {"holder": "X"})
        self.assertEqual(self.peer.unlock(1, 5, "holder", "a", fence), lp.DONE)
        self.assertEqual(self.peer.unlock(1, 6, "holder", "a", fence), lp.NOT_HELD)

    def test_release_is_done_once(self):
        self.peer.lock(1, 1, "holder", "a")
        _, fence, _ = self.peer.lock(1, 2, "holder", "a")
        for _ in range(3):  # sent again and again: the same number, the same answer
            self.assertEqual(self.peer.unlock(1, 3, "holder", "a", fence), lp.DONE)
        self.assertEqual(self.peer.holders("a"), {"holder": "X"})
        self.assertEqual(self.peer.resource("a")["holders"][0]["count"], 1)

    def test_a_request_below_done_below_is_ignored(self):
        self.peer.lock(1, 1, "holder", "a")
        self.peer.lock(1, 5, "holder", "b", done_below=5)
        self.peer.request(lp.LOCK, 1, 4, "holder", None, 0, 0, 0, [["c", "X"]], done_below=5)
        self.peer.lock(1, 6, "holder", "d", done_below=5)
        self.assertIsNone(self.peer.resource("c"))

    def test_requests_of_no_session(self):
        self.peer.request(lp.LOCK, 99, 1, "t", None, 0, 0, 0, [["a", "X"]])
        self.assertEqual(self.peer.ended(99), lp.UNKNOWN)
        self.assertEqual(self.peer.renew(1, 99, 2), [99])
        self.assertIsNone(self.peer.resource("a"))


class LeaseEndTest(LockFaultCase):
    def setUp(self):
        super().setUp()
        self.start_agent()
        self.peer, self.other = self.new_peer(), self.new_peer()
        self.other.open(2)

    def test_renewal_after_the_end_revives_nothing(self):
        self.peer.open(1, ttl_ms=200)
        _, fence, _ = self.peer.lock(1, 1, "t", "a")
        self.assertEqual(self.peer.ended(1), lp.EXPIRED)
        self.assertEqual(self.peer.renew(1), [1])
        self.peer.request(lp.LOCK, 1, 2, "t", None, 0, 0, 0, [["b", "X"]])
        self.assertIn(self.peer.ended(1), (lp.EXPIRED, lp.UNKNOWN))
        self.peer.send(lp.OPEN_SESSION, 1, 10_000, 0, "again")
        self.assertNotEqual(self.peer.ended(1), lp.CLOSED)  # a number that is over stays so
        status, later, _ = self.other.lock(2, 1, "u", "a", wait_us=0)
        self.assertEqual(status, lp.DONE)
        self.assertGreater(later, fence)

    def test_waiter_whose_lease_ends_in_the_queue(self):
        self.other.lock(2, 1, "holder", "a")
        self.peer.open(1, ttl_ms=300)
        self.peer.request(lp.LOCK, 1, 1, "waiter", None, None, 0, 0, [["a", "X"]])
        self.assertEqual(self.peer.reply(1, 1)[0], lp.WAITING)
        self.assertEqual(self.peer.reply(1, 1)[0], lp.LEASE_LOST)
        self.assertEqual(self.other.waiters("a"), [])
        self.other.ask(lp.END, 2, 2, "holder")
        self.assertIsNone(self.other.resource("a"))  # it was not granted to the one who is gone

    def test_holder_and_waiter_end_together(self):
        self.peer.open(1, ttl_ms=400)
        self.peer.open(3, ttl_ms=400)
        self.peer.lock(1, 1, "holder", "a")
        self.peer.request(lp.LOCK, 3, 1, "waiter", None, None, 0, 0, [["a", "X"]])
        self.assertEqual(self.peer.reply(3, 1)[0], lp.WAITING)
        self.assertEqual(self.peer.renew(1, 3), [])  # both from the same moment
        self.assertEqual(self.peer.reply(3, 1)[0], lp.LEASE_LOST)
        wait_until(lambda: self.other.query("status")["sessions"] == 1, 10, "both are over")
        self.assertIsNone(self.other.resource("a"))

    def test_lock_delay_after_a_crash_and_none_after_a_clean_end(self):
        for clean in (True, False):
            with self.subTest(clean=clean):
                session = 10 + clean
                self.peer.open(session, ttl_ms=200, lock_delay_ms=2000)
                self.peer.lock(session, 1, f"t{session}", "a")
                if clean:
                    self.peer.send(lp.CLOSE_SESSION, session)
                    self.assertEqual(self.peer.ended(session), lp.CLOSED)
                else:
                    self.assertEqual(self.peer.ended(session), lp.EXPIRED)
                began = time.monotonic()
                status, _, text = self.other.lock(2, 1 + session, f"u{session}", "a", wait_us=10_000_000)
                if status == lp.WAITING:
                    status = self.other.reply(2, 1 + session)[0]
                self.assertEqual(status, lp.DONE, text)
                waited = time.monotonic() - began
                self.assertTrue(waited < 1 if clean else waited > 1, waited)
                self.other.ask(lp.END, 2, 100 + session, f"u{session}")

    def test_agent_that_stood_still_ends_nobody_who_was_alive(self):
        client = self.new_client()
        with client.session(2) as session, session.transaction() as txn:
            grant = txn.lock("a")
            self.peer.open(1, ttl_ms=700)
            self.peer.lock(1, 1, "t", "b")
            self.agent.signal(signal.SIGSTOP)
            end = time.monotonic() + 1.0
            for stamp in range(5):  # it goes on living while the agent stands still
                self.peer.send(lp.RENEW, stamp, [1])
            wait_until(lambda: time.monotonic() > end, 5)
            self.agent.signal(signal.SIGCONT)
            self.assertEqual(self.peer.renew(1, stamp=9), [])
            self.assertEqual(self.peer.holders("b"), {"t": "X"})
            grant.check()


class LostAnswerTest(LockFaultCase):
    def test_acquire_sent_again_over_another_connection(self):
        self.start_agent()
        peer = self.new_peer()
        peer.open(1)
        _, fence, _ = peer.lock(1, 1, "t", "a")  # say, this answer got lost
        again = self.new_peer()
        again.open(1)
        self.assertEqual(again.lock(1, 1, "t", "a"), (lp.DONE, fence, b""))
        self.assertEqual(again.resource("a")["holders"][0]["count"], 1)

    def test_answers_go_to_the_new_connection(self):
        self.start_agent()
        holder, waiter = self.new_peer(), self.new_peer()
        holder.open(1)
        waiter.open(2)
        holder.lock(1, 1, "holder", "a")
        waiter.request(lp.LOCK, 2, 1, "waiter", None, None, 0, 0, [["a", "X"]])
        waiter.reply(2, 1)
        again = self.new_peer()
        again.open(2)
        again.request(lp.LOCK, 2, 1, "waiter", None, None, 0, 0, [["a", "X"]])
        self.assertEqual(again.reply(2, 1)[0], lp.WAITING)
        holder.ask(lp.END, 1, 2, "holder")
        self.assertEqual(again.reply(2, 1)[0], lp.DONE)

    def killed_between_decision_and_reply(self, *options):
        """With GORDIAN_FAILPOINT the agent kills itself when it is about to send its second grant."""
        agent = self.start_agent(*options, environment={"GORDIAN_FAILPOINT": "kill_before_grant:2"})
        client = self.new_client()
        with client.session(2) as session, session.transaction("t") as txn:
            first = txn.lock("a")
            second = self.begin(txn.lock, "b")
            self.assertEqual(agent.wait(10), -signal.SIGKILL)
            self.start_agent(*options)
            grant = second.result(20)
            first.check()
            self.assertEqual(txn.held(), [(b"a", "X", first.fence), (b"b", "X", grant.fence)])
            peer = self.new_peer()
            self.assertEqual([peer.holders("a"), peer.holders("b")], [{"t": "X"}, {"t": "X"}])
            self.assertEqual(peer.resource("b")["holders"][0]["count"], 1)
            grant.unlock()
            self.assertIsNone(peer.resource("b"))

    def test_agent_killed_between_decision_and_reply(self):
        self.killed_between_decision_and_reply()

    def test_agent_with_a_journal_killed_between_decision_and_reply(self):
        self.killed_between_decision_and_reply("--durability", "journal")


class RestartTest(LockFaultCase):
    def restart(self, *options):
        self.agent.kill()
        self.start_agent(*options)
        peer = self.new_peer()
        return peer

    def test_only_holders_in_the_grace_period(self):
        self.start_agent()
        peer = self.new_peer()
        before, _, grace = peer.open(1, ttl_ms=3000)
        self.assertEqual(grace, 0)
        _, fence, _ = peer.lock(1, 1, "t", "a")
        peer = self.restart()
        incarnation, _, grace = peer.open(1, ttl_ms=3000)
        self.assertNotEqual(incarnation, before)
        self.assertTrue(0 < grace <= 3000, grace)
        peer.open(2)
        peer.request(lp.LOCK, 2, 1, "stranger", None, None, 0, 0, [["a", "X"]])
        self.assertEqual(peer.ask(lp.RECLAIM, 1, 2, "t", None, [["a", "X", 1, *fence]])[0], lp.DONE)
        self.assertEqual(peer.ask(lp.RECLAIM, 2, 2, "thief", None, [["a", "X", 1, *fence]])[0], lp.LEASE_LOST)
        self.assertEqual(peer.holders("a"), {"t": "X"})
        self.assertEqual(peer.unlock(1, 3, "t", "a", fence), lp.DONE)
        status, grants, *_ = peer.reply(2, 1)
        while status == lp.WAITING:
            status, grants, *_ = peer.reply(2, 1)
        self.assertEqual(status, lp.DONE)
        self.assertGreater(tuple(grants[0][1:]), fence)

    def test_too_late_to_reclaim(self):
        self.start_agent()
        peer = self.new_peer()
        peer.open(1, ttl_ms=300)
        _, fence, _ = peer.lock(1, 1, "t", "a")
        peer = self.restart()
        peer.open(2)
        status, later, _ = peer.lock(2, 1, "u", "a")
        if status == lp.WAITING:
            status, grants, *_ = peer.reply(2, 1)
            later = tuple(grants[0][1:])
        self.assertEqual(status, lp.DONE)
        self.assertGreater(later, fence)
        peer.open(1)
        self.assertEqual(peer.ask(lp.RECLAIM, 1, 2, "t", None, [["a", "X", 1, *fence]])[0], lp.LEASE_LOST)
        self.assertEqual(peer.holders("a"), {"u": "X"})

    def journal_knows(self, claim):
        """The status of a reclaim of `claim` = (mode, epoch, counter), where the journal knows S (the first fence), then IX (the
        second): SIX."""
        options = ("--durability", "journal")
        self.start_agent(*options)
        peer = self.new_peer()
        peer.open(1)
        fences = [peer.lock(1, number, "t", "a", mode)[1] for number, mode in ((1, "S"), (2, "IX"))]
        peer = self.restart(*options)
        self.assertEqual(peer.open(1)[2], 0)
        self.assertEqual(peer.holders("a"), {"t": "SIX"})
        mode, which = claim
        fence = (fences[0][0], fences[-1][1] + 1) if which is None else fences[which]
        return peer.ask(lp.RECLAIM, 1, 3, "t", None, [["a", mode, 2, *fence]])[0]

    def test_nobody_claims_more_than_the_journal_knows(self):
        self.assertEqual(self.journal_knows(("X", 1)), lp.LEASE_LOST)

    def test_nobody_claims_a_later_fence_than_the_journal_knows(self):
        self.assertEqual(self.journal_knows(("SIX", None)), lp.LEASE_LOST)

    def test_the_journal_may_know_more(self):
        self.assertEqual(self.journal_knows(("SIX", 1)), lp.DONE)

    def test_the_journal_may_know_of_an_upgrade_whose_answer_was_lost(self):
        self.assertEqual(self.journal_knows(("S", 0)), lp.DONE)

    def test_incarnations_and_fences_grow_at_every_start(self):
        self.start_agent()
        seen = []
        for turn in range(4):
            peer = self.new_peer()
            incarnation, *_ = peer.open(turn + 1, ttl_ms=500)
            status, fence, _ = peer.lock(turn + 1, 1, "t", "a", wait_us=None)
            while status == lp.WAITING:
                status, grants, *_ = peer.reply(turn + 1, 1, 20)
                fence = tuple(grants[0][1:]) if grants else None
            seen.append((incarnation, fence))
            peer.send(lp.CLOSE_SESSION, turn + 1)
            peer.ended(turn + 1)
            (self.agent.kill if turn % 2 else self.agent.stop)()
            self.start_agent()
        self.assertEqual(seen, sorted(set(seen)))
        self.assertEqual(len({incarnation for incarnation, _ in seen}), 4)


PAUSED = """
import signal, sys
import gordian
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
client = gordian.LockClient(sys.argv[1])
session = client.session(1.2)
with session.transaction("paused") as txn:
    grant = txn.lock("counter")
    print("fence", grant.fence, flush=True)
    signal.sigwait({signal.SIGUSR1})
    for use in (grant.check, lambda: txn.lock("other"), grant.unlock):
        try:
            use()
            print("fine", flush=True)
        except gordian.LeaseLost:
            print("lost", flush=True)
    print("remaining", grant.remaining(), "end", flush=True)
client.close()
"""


class PausedClientTest(LockFaultCase):
    def paused_client(self, environment=None):
        program = Program(["/usr/bin/python3", "-B", "-c", PAUSED, self.agent.endpoint],
                          {"PYTHONPATH": str(ROOT / "agents/python"), **(environment or {})})
        return self.enterContext(program)

    def test_first_use_fails_here_and_the_store_refuses_the_write(self):
        self.start_agent()
        store = gordian.FenceGuard()
        paused = self.paused_client()
        stale = gordian.Fence.parse(paused.wait_for_output(r"fence (\S+)\n")[1])
        store.admit("counter", stale)
        paused.signal(signal.SIGSTOP)
        with self.new_client().lock("counter", wait=10) as grant:  # as soon as the lease is over
            store.admit("counter", grant.fence)
            paused.signal(signal.SIGUSR1)
            paused.signal(signal.SIGCONT)
            paused.wait_for_output("end\n")
            self.assertEqual(paused.stdout.splitlines()[1:], ["lost"] * 3 + ["remaining 0.0 end"])
            self.assertRaises(gordian.StaleFence, store.admit, "counter", stale)
            grant.check()
            store.admit("counter", grant.fence)
        self.assertEqual(paused.wait(10), 0, paused.stderr)

    def test_killed_client_leaves_its_locks_to_the_lease(self):
        self.start_agent()
        killed = self.paused_client()
        fence = gordian.Fence.parse(killed.wait_for_output(r"fence (\S+)\n")[1])
        killed.kill()
        with self.new_client().lock("counter", wait=10) as grant:
            self.assertGreater(grant.fence, fence)


class WallClockTest(LockFaultCase):
    def setUp(self):
        super().setUp()
        self.clock = Clock(self.folder / "clock")
        self.start_agent(environment=self.clock.environment)

    def test_leases_do_not_follow_the_wall_clock(self):
        peer = self.new_peer()
        client = self.new_client()
        with client.session(1.2) as session, session.transaction() as txn:
            grant = txn.lock("kept")
            for number, seconds in enumerate((HOUR_S, -HOUR_S, 0), 1):
                with self.subTest(seconds=seconds):
                    began = time.monotonic()
                    peer.open(number, ttl_ms=500)
                    peer.lock(number, 1, f"t{number}", f"n{number}")
                    self.clock.set(seconds)
                    self.assertEqual(peer.ended(number), lp.EXPIRED)
                    self.assertTrue(0.5 <= time.monotonic() - began < 5)
                    grant.check()
        self.assertEqual(client.status()["sessions_lost"], 0)

    def test_timeouts_do_not_follow_the_wall_clock(self):
        client = self.new_client()
        with client.session() as session, session.transaction() as holder, session.transaction() as waiter:
            holder.lock("a")
            for seconds in (HOUR_S, -HOUR_S):
                began = time.monotonic()
                waiting = self.begin(waiter.lock, "a", wait=1)
                self.clock.set(seconds)
                with self.assertRaises(gordian.Timeout):
                    waiting.result(10)
                self.assertTrue(0.9 < time.monotonic() - began < 5)

    def test_started_again_with_an_older_clock(self):
        peer = self.new_peer()
        incarnation, *_ = peer.open(1)
        _, fence, _ = peer.lock(1, 1, "t", "a")
        peer.send(lp.CLOSE_SESSION, 1)
        peer.ended(1)
        self.agent.stop()
        self.clock.set(-HOUR_S)
        self.start_agent(environment=self.clock.environment)
        later, *_ = peer.open(2)
        self.assertGreater(later, incarnation)
        status, grown, _ = peer.lock(2, 1, "t", "a")
        if status == lp.WAITING:
            grown = tuple(peer.reply(2, 1, 20)[1][0][1:])
        self.assertGreater(grown, fence)

    def test_client_under_a_clock_that_jumps(self):
        own = Clock(self.folder / "client-clock")
        client = self.enterContext(Program(["/usr/bin/python3", "-B", "-c", PAUSED, self.agent.endpoint],
                                           {"PYTHONPATH": str(ROOT / "agents/python"), **own.environment}))
        client.wait_for_output(r"fence (\S+)\n")
        end = time.monotonic() + 3  # longer than its lease: it renews, whatever the clock on the wall says
        for seconds in (HOUR_S, -HOUR_S):
            own.set(seconds)
            self.clock.set(-seconds)
            wait_until(lambda: time.monotonic() > end - 1.5, 5)
            end += 1.5
        client.signal(signal.SIGUSR1)
        client.wait_for_output("end\n")
        self.assertEqual(client.wait(10), 0, client.stderr)
        self.assertEqual(client.stdout.splitlines()[1:4], ["fine"] * 3, client.stderr)


class BadInputTest(LockFaultCase):
    def setUp(self):
        super().setUp()
        self.start_agent()
        self.peer = self.new_peer()
        self.peer.open(1)
        self.number = 0

    def lock(self, name, mode="X"):
        self.number += 1
        return self.peer.lock(1, self.number, "t", name, mode, wait_us=0)

    def test_names_from_one_byte_to_the_limit(self):
        names = [bytes([byte]) for byte in range(256)] + [b"\xff" * 1024, bytes(range(256)) * 4, b"\0" * 1024, "ä" * 512]
        fences = [self.lock(name) for name in names]
        self.assertEqual({status for status, *_ in fences}, {lp.DONE})
        self.assertEqual(self.peer.query("status")["locks"], len(names))  # all of them differ
        self.peer.open(2)
        for number, name in enumerate(names, 1):
            self.assertEqual(self.peer.lock(2, number, "u", name, wait_us=0)[0], lp.REFUSED, name)

    def test_names_beyond_the_limit(self):
        for name in (b"", b"x" * 1025, b"x" * (1 << 20)):
            with self.subTest(bytes=len(name)):
                self.assert_refused([lp.LOCK, 1, 900 + len(name), 1, "t", None, 0, 0, 0, [[name, "X"]]])
        self.assertEqual(self.lock("a")[0], lp.DONE)  # the session goes on
        self.assertEqual(self.peer.query("status")["locks"], 1)

    def assert_refused(self, request):
        """By an error of the request, or of the whole message; with a sentence."""
        self.peer.send(lp.REQUESTS, [request])
        kind, fields = self.peer.expect_any({lp.ERROR, lp.REPLIES, lp.SESSION_ENDED})
        if kind == lp.REPLIES:
            [[_, _, status, _, text, _]] = fields[0]
            self.assertIn(status, (lp.LIMIT, lp.INVALID))
        else:
            text = fields[-1] if kind == lp.SESSION_ENDED else fields[1]
        self.assertTrue(text)

    def test_a_message_that_is_too_large(self):
        self.peer.send(lp.REQUESTS, [[lp.LOCK, 1, 1, 1, "t", None, 0, 0, 0, [[b"x" * (5 << 20), "X"]]]])
        self.assertIn(b"4", self.peer.expect(lp.ERROR)[1])
        self.assertEqual(self.lock("a")[0], lp.DONE)

    def test_modes_schemes_and_ids_that_make_no_sense(self):
        good = [lp.LOCK, 1, 0, 1, "t", None, 0, 0, 0, [["a", "X"]]]
        changes = [(4, ""), (4, "x" * 129), (7, 9), (9, []), (9, [["a", "Y"]]), (9, [["a", "X"]] * 1001), (9, [["a"]]), (9, "a"), (6, -1),
                   (2, -1), (0, 99), (1, 99)]
        for number, (place, value) in enumerate(changes, 100):
            request = list(good)
            request[2] = number
            request[place] = value
            with self.subTest(place=place, value=str(value)[:20]):
                self.assert_refused(request)
        self.assertEqual(self.lock("a")[0], lp.DONE)

    def test_noise(self):
        source = random.Random(20250101)
        whole = msgpack.packb([1, lp.REQUESTS, [[lp.LOCK, 1, 7, 1, "t", None, 0, 0, 0, [["noise", "X"]]]]])
        for _ in range(300):
            cut = bytearray(whole[:source.randrange(len(whole))] if source.random() < 0.5 else whole)
            for _ in range(source.randrange(1, 4)):
                if cut:
                    cut[source.randrange(len(cut))] = source.randrange(256)
            self.peer.send_raw(bytes(cut))
        self.peer.send_raw(b"")
        self.peer.send_raw(b"\xdd\xff\xff\xff\xff")
        other = self.new_peer()
        other.open(5)
        self.assertEqual(other.lock(5, 1, "u", "quiet")[0], lp.DONE)
        self.assertTrue(self.agent.running())


if __name__ == "__main__":
    unittest.main()
