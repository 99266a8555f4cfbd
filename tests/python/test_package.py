"""What the Python package does without a server: time, places, fences, modes, bytes, and calls that fail locally."""

import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

import msgpack

import gordian
from gordian import clock, errors, place, transaction, wire

PACKAGE = pathlib.Path(gordian.__file__).resolve().parents[1]
NOBODY = "tcp://127.0.0.1:1"  # where nobody listens


class Bell:
    """Something with a timer, which notes when it rings."""

    def __init__(self, timers, again=None):
        self.due = None
        self.rung = []
        self._timers, self._again = timers, again

    def on_time(self, now):
        self.rung.append(now)
        if self._again:
            self._timers.set(self, now + self._again)


class ClockTest(unittest.TestCase):
    def test_lease_ends_before_the_agents(self):
        self.assertEqual(clock.lease_end(100.0, 10.0), 109.8)  # a fiftieth
        self.assertAlmostEqual(clock.lease_end(100.0, 0.1), 100.09)  # at least 10 ms
        for ttl in (0.1, 0.5, 1, 60, 3600):
            self.assertLess(clock.lease_end(0, ttl), ttl)
            self.assertGreater(clock.lease_end(0, ttl), ttl * 0.89)

    def test_clock_runs_and_counts_from_boot(self):
        first = clock.now()
        self.assertGreaterEqual(clock.now(), first)
        uptime = float(pathlib.Path("/proc/uptime").read_text().split()[0])
        self.assertAlmostEqual(clock.now(), uptime, delta=5)

    def test_timers_in_order(self):
        timers = clock.Timers()
        late, early, again = Bell(timers), Bell(timers), Bell(timers, again=3)
        for bell, when in ((late, 9), (early, 1), (again, 2)):
            timers.set(bell, when)
        self.assertEqual(timers.next(), 1)
        timers.run(5)
        self.assertEqual((early.rung, again.rung, late.rung), ([5], [5], []))
        self.assertEqual(timers.next(), 8)

    def test_timer_that_is_set_again_rings_once(self):
        timers = clock.Timers()
        bell = Bell(timers)
        for when in (1, 4, 1, 2, None, 3):
            timers.set(bell, when)
        timers.run(2)
        self.assertEqual(bell.rung, [])
        timers.run(10)
        self.assertEqual(bell.rung, [10])
        timers.set(bell, 20)
        timers.set(bell, None)
        timers.run(30)
        self.assertEqual((bell.rung, timers.next()), ([10], None))


class PlaceTest(unittest.TestCase):
    def test_score_is_that_of_the_document(self):
        def fnv_then_mix(data):  # docs/lock-protocol.md, word for word, in arbitrary precision
            h = 14695981039346656037
            for byte in data:
                h ^= byte
                h = h * 1099511628211 % 2 ** 64
            h ^= h >> 30
            h = h * 0xBF58476D1CE4E5B9 % 2 ** 64
            h ^= h >> 27
            h = h * 0x94D049BB133111EB % 2 ** 64
            return h ^ h >> 31

        for site, name in ((b"a", b"b"), (b"berlin", b"orders/42"), (b"", bytes(range(256)))):
            self.assertEqual(place.score(site, name), fnv_then_mix(site + name))
        self.assertEqual(place.score(b"berlin", b"orders/42"), 0xF6F4C6DF437307C4)
        self.assertEqual(place.score(b"paris", b"orders/42"), 0xD6AED24A3AEC5D02)

    def test_largest_score_wins_and_the_smaller_site_on_a_tie(self):
        self.assertEqual(place.rendezvous([b"ab", b"a"], b"x"), max([b"ab", b"a"], key=lambda site: place.score(site, b"x")))
        self.assertEqual(place.score(b"a", b"bc"), place.score(b"ab", b"c"))  # the hash runs over both, without a gap
        self.assertEqual(min((b"b", b"a"), key=lambda site: (0, site)), b"a")

    def test_even_shares_and_few_moves(self):
        sites = [b"berlin", b"paris", b"rome"]
        names = [f"orders/{number}".encode() for number in range(3000)]
        before = [place.rendezvous(sites, name) for name in names]
        for site in sites:
            self.assertAlmostEqual(before.count(site), 1000, delta=150)
        after = [place.rendezvous(sites[:2], name) for name in names]
        moved = [old for old, new in zip(before, after) if old != new]
        self.assertEqual(set(moved), {b"rome"})  # only what it had
        self.assertEqual(len(moved), before.count(b"rome"))


class FenceTest(unittest.TestCase):
    def test_epoch_counts_before_counter(self):
        fences = [gordian.Fence(1, 2), gordian.Fence(1, 10), gordian.Fence(2, 1)]
        self.assertEqual(sorted(reversed(fences)), fences)
        self.assertEqual([gordian.Fence.parse(str(fence)) for fence in fences], fences)
        for text in ("", "1", "1.", ".1", "1.x", "-1.2"):
            self.assertRaises(ValueError, gordian.Fence.parse, text)

    def test_guard_refuses_who_comes_late(self):
        guard, written = gordian.FenceGuard(), []
        guard.admit("a", gordian.Fence(1, 5), lambda: written.append(5))
        guard.admit("a", gordian.Fence(1, 5), lambda: written.append(55))  # the same holder, again
        guard.admit("b", gordian.Fence(1, 1), lambda: written.append(1))  # another resource
        guard.admit("a", gordian.Fence(2, 1), lambda: written.append(21))
        with self.assertRaises(gordian.StaleFence) as caught:
            guard.admit("a", gordian.Fence(1, 99), lambda: written.append(199))
        self.assertEqual((caught.exception.given, caught.exception.seen), ((1, 99), (2, 1)))
        self.assertIn("1.99", str(caught.exception))
        self.assertEqual(written, [5, 55, 1, 21])

    def test_guard_does_not_count_a_write_that_fails(self):
        guard = gordian.FenceGuard()
        with self.assertRaises(ZeroDivisionError):
            guard.admit("a", gordian.Fence(1, 9), lambda: 1 // 0)
        self.assertIsNone(guard.seen("a"))
        self.assertEqual(guard.admit("a", gordian.Fence(1, 2), lambda: "written"), "written")

    def test_guard_is_restored_and_limited(self):
        guard = gordian.FenceGuard(names_max=1)
        guard.restore("a", gordian.Fence(3, 3))
        guard.restore("a", gordian.Fence(1, 1))
        self.assertRaises(gordian.StaleFence, guard.admit, "a", gordian.Fence(3, 2))
        self.assertRaisesRegex(gordian.LimitReached, "names_max", guard.admit, "b", gordian.Fence(9, 9))

    def test_guard_with_threads(self):
        guard, written = gordian.FenceGuard(), []

        def write(step):
            for counter in range(step, 2000, 4):
                try:
                    guard.admit("a", gordian.Fence(1, counter), lambda: written.append(counter))
                except gordian.StaleFence:
                    pass

        threads = [threading.Thread(target=write, args=(step,)) for step in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(written, sorted(written))
        self.assertEqual(written[-1], 1999)


class ModeTest(unittest.TestCase):
    def test_joins(self):
        joins = {("IS", "IX"): "IX", ("S", "IX"): "SIX", ("S", "U"): "U", ("U", "IX"): "SIX", ("IS", "S"): "S", ("SIX", "X"): "X",
                 ("X", "IS"): "X", ("U", "X"): "X"}
        for (held, asked), both in joins.items():
            self.assertEqual(gordian.STANDARD.join(held, asked), both, (held, asked))
            self.assertEqual(gordian.STANDARD.join(asked, held), both, (asked, held))
        self.assertEqual(gordian.DLM.join("PR", "CW"), "PW")

    def test_every_two_modes_have_a_join_that_covers_both(self):
        for matrix in (gordian.STANDARD, gordian.DLM):
            for held in matrix:
                self.assertEqual(matrix.join(held, held), held)
                for asked in matrix:
                    both = matrix.join(held, asked)
                    self.assertTrue(matrix.covers(both, held) and matrix.covers(both, asked))

    def test_paths(self):
        self.assertEqual(transaction.path_parts("a/b/c"), ["a", "a/b", "a/b/c"])
        self.assertEqual(transaction.path_parts(b"a\xff/b"), [b"a\xff", b"a\xff/b"])
        self.assertEqual(transaction.path_parts("a//b"), ["a", "a/", "a//b"])
        self.assertEqual(transaction.path_parts("a"), ["a"])


class WireTest(unittest.TestCase):
    def test_any_bytes_pass(self):
        name = bytes(range(256))
        self.assertEqual(wire.parse(wire.message(wire.Kind.REPLIES, [[name, wire.to_text(name)]])),
                         (83, [[[name, wire.to_text(name)]]]))
        self.assertEqual(wire.to_bytes(wire.to_text(name)), name)

    def test_bytes_of_a_message(self):
        self.assertEqual(wire.message(wire.Kind.CLOSE_SESSION, 7), bytes.fromhex("93014207"))
        [(count, frame)] = wire.batches([wire.pack([3, 7, 1, 1, b"t"])])
        self.assertEqual((count, msgpack.unpackb(frame, raw=True)), (1, [1, 67, [[3, 7, 1, 1, b"t"]]]))

    def test_batches_keep_the_limits(self):
        large = wire.pack([0, b"x" * 1_000_000])
        found = list(wire.batches([large] * 9 + [b"\x90"] * 20_005))
        self.assertEqual(sum(count for count, _ in found), 20_014)
        for count, frame in found:
            self.assertLessEqual(len(frame), wire.MESSAGE_BYTES_MAX)
            self.assertEqual(len(msgpack.unpackb(frame)[2]), count)
            self.assertLessEqual(count, wire.REQUESTS_MAX)
        self.assertEqual(list(wire.batches([])), [])

    def test_what_is_no_message(self):
        for frame in (b"", b"\xc1", wire.pack({}), wire.pack([1]), wire.pack([2, 80, 1, 1, 1, 1]), wire.pack([1, 80, 1]), wire.pack([1, "x"]),
                      b"\xdd\xff\xff\xff\xff"):
            self.assertRaises(ValueError, wire.parse, frame)
        self.assertEqual(wire.parse(wire.pack([1, 81, 1, 2, [], "more"])), (81, [1, 2, [], "more"]))

    def test_errors_by_status(self):
        self.assertIsInstance(errors.from_status(2, "text", "i-7"), gordian.Deadlock)
        self.assertEqual(errors.from_status(2, "text", "i-7").again().incident, "i-7")
        self.assertEqual({status for status, kind in errors.BY_STATUS.items() if kind.aborts}, {2, 5, 7, 12})
        self.assertTrue(str(errors.from_status(3, "", "")))


class CallTest(unittest.TestCase):
    """Calls that need no agent to be wrong."""

    def client(self, agents=NOBODY, **more):
        return self.enterContext(gordian.LockClient(agents, reply_limit=0.2, **more))

    def test_nobody_answers(self):
        with self.client().session(ttl=1) as session, session.transaction() as txn:
            with self.assertRaisesRegex(gordian.Unreachable, "127.0.0.1:1"):
                txn.lock("a")
            self.assertEqual(session.remaining(), 1)  # no agent has ever granted a lease
            self.assertRaises(gordian.Unreachable, txn.lock_all, ["a", "b"])

    def test_arguments(self):
        client = self.client({"berlin": NOBODY, "paris": NOBODY})
        for ttl in (0.05, 3601, -1):
            self.assertRaises(gordian.Invalid, client.session, ttl)
        self.assertRaises(gordian.Invalid, gordian.LockClient, {})
        self.assertRaises(gordian.Invalid, gordian.LockClient, "localhost")
        self.assertRaises(gordian.Invalid, gordian.LockClient, "nonsense://127.0.0.1")
        with client.session() as session, session.transaction("t") as txn:
            self.assertRaisesRegex(gordian.Invalid, "already", session.transaction, "t")
            self.assertRaises(gordian.Invalid, session.transaction, "x" * 129)
            for name in ("", "x" * 1025, "ä" * 513, b"x" * (1 << 20)):
                self.assertRaisesRegex(gordian.Invalid, "1024", txn.lock, name)
            self.assertRaisesRegex(gordian.Invalid, "no lock mode", txn.lock, "a", "Y")
            self.assertRaisesRegex(gordian.Invalid, "no site", txn.lock, "a", site="rome")
            self.assertRaises(gordian.Invalid, txn.lock_all, [])
            self.assertRaisesRegex(gordian.Invalid, "1024", txn.lock_path, "/a")  # its first part has no name
            self.assertRaises(gordian.Invalid, txn.lock_all, ["a"] * 1001)
            names = {client.site_of(f"n{number}"): f"n{number}" for number in range(50)}
            self.assertRaisesRegex(gordian.Invalid, "one agent", txn.lock_some, list(names.values()), 1)

    def test_after_the_end(self):
        client = self.client()
        session = client.session()
        txn = session.transaction("t")
        txn.end()
        txn.end()
        self.assertRaisesRegex(gordian.Invalid, "ended", txn.lock, "a")
        with session.transaction("t"):  # its id is free again
            pass
        other = session.transaction()
        session.close()
        self.assertRaises(gordian.LeaseLost, session.check)
        self.assertRaises(gordian.LeaseLost, other.lock, "a")
        self.assertEqual(session.remaining(), 0)
        client.close()
        client.close()
        self.assertRaisesRegex(gordian.Invalid, "closed", client.session)

    def test_a_forked_process_is_told(self):
        client = self.client()
        session = client.session()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                client.session()
            except gordian.ForkedClient as error:
                os.write(writer, str(error).encode())
            try:
                session.transaction()
            except gordian.ForkedClient:
                os.write(writer, b" twice")
            client.close()
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        os.close(writer)
        said = os.read(reader, 1000).decode()
        os.close(reader)
        self.assertIn(f"process {os.getpid()}", said)
        self.assertIn("twice", said)
        session.transaction().end()  # the parent's goes on

    def test_close_by_another_thread_ends_calls(self):
        client = gordian.LockClient(NOBODY, reply_limit=30)
        txn = client.session().transaction()
        caught = []

        def lock():
            try:
                txn.lock("a")
            except gordian.LockError as error:
                caught.append(type(error))

        thread = threading.Thread(target=lock)
        thread.start()
        while not client.status()["pending"]:
            pass
        client.close()
        thread.join(5)
        self.assertEqual(caught, [gordian.LeaseLost])

    def test_process_ends_with_an_open_client(self):
        program = f"import gordian\nclient = gordian.LockClient({NOBODY!r})\nsession = client.session()\nprint('ready')"
        finished = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, timeout=20,
                                  env={**os.environ, "PYTHONPATH": str(PACKAGE)}, check=False)
        self.assertEqual((finished.returncode, finished.stdout, finished.stderr), (0, "ready\n", ""))


class InstallTest(unittest.TestCase):
    def test_installs_without_a_network(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "source"
            subprocess.run(["cp", "-r", str(PACKAGE), str(source)], check=True)
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps",
                            "--no-cache-dir", "--disable-pip-version-check", "--root-user-action", "ignore",
                            "--target", f"{folder}/there", str(source)], check=True, capture_output=True, timeout=100)
            program = "import gordian, pathlib; print(pathlib.Path(gordian.__file__).parent, gordian.Fence(1, 2))"
            environment = {**os.environ, "PYTHONPATH": f"{folder}/there"}
            told = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True, env=environment).stdout
            self.assertEqual(told, f"{folder}/there/gordian 1.2\n")
            self.assertTrue((pathlib.Path(folder) / "there/gordian/py.typed").exists())


if __name__ == "__main__":
    unittest.main()
