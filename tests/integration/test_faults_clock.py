"""Wall clocks that jump while everything runs (libfaketime), and an agent started again with an older clock.

The monotonic clock stays as it is, as in a machine whose wall clock is set.
"""

import glob
import os
import pathlib
import signal
import unittest

from faults_case import FaultCase
from harness import wait_until

HOUR_S = 3600
LONG_LEASE = ["--lease", "10s"]  # no session may end because the machine is busy


def faketime_library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise FileNotFoundError("libfaketime is missing: apt-get install faketime")
    return found[0]


class Clock:
    """A wall clock for programs, which can be set while they run."""

    def __init__(self, file):
        self.file = pathlib.Path(file)
        self.set(0)

    def set(self, seconds):
        """So many seconds ahead of the true time, or behind it."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        os.replace(fresh, self.file)  # readers see the old or the new text, never half of one

    @property
    def environment(self):
        # AddressSanitizer wants to be the first library, and works as the second; preloaded before this one it hangs.
        asan_options = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0")))
        return {"LD_PRELOAD": faketime_library(), "ASAN_OPTIONS": asan_options,
                "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}


class ClockTest(FaultCase):
    def setUp(self):
        super().setUp()
        self.clocks = {name: Clock(self.folder / f"clock-{name}") for name in ("gordiand", "a", "b")}
        self.start_gordiand(*LONG_LEASE, environment=self.clocks["gordiand"].environment)
        for site in "ab":
            self.start_agent(site, environment=self.clocks[site].environment)
        self.wait_until_ready("a", "b")

    def set_all(self, seconds):
        for clock in self.clocks.values():
            clock.set(seconds)

    def test_wall_clocks_set_back_and_forward(self):
        shown = self.resolve_a_crossing("before")["found_unix_us"]
        sessions = {site: self.cli.site(site)["incarnation"] for site in "ab"}
        for seconds in (-HOUR_S, HOUR_S, 0):
            with self.subTest(seconds=seconds):
                self.set_all(seconds)
                incident = self.resolve_a_crossing(f"jump{seconds:+d}".replace("+", "p").replace("-", "m"))
                # The clock was really another one.
                self.assertAlmostEqual((incident["found_unix_us"] - shown) / 1e6, seconds, delta=120)
                self.assertLess(incident["resolve_us"], 10e6)
        for site, sign in (("a", 1), ("b", -1)):
            self.clocks[site].set(sign * HOUR_S)  # all of them differ
        self.resolve_a_crossing("apart")
        counters = self.cli.status()["counters"]
        self.assertEqual({site: self.cli.site(site)["incarnation"] for site in "ab"}, sessions)
        self.assertEqual((counters["sessions"], counters.get("leases_lost", 0), counters.get("resyncs", 0)), (2, 0, 0))

    def test_waits_stand_while_the_clock_jumps(self):
        first, second, one = self.half_crossing()
        for seconds in (HOUR_S, -HOUR_S):
            self.set_all(seconds)
            applied = self.counter("messages")
            self.wait_for_counter("messages", applied + 10)  # heartbeats go on
            [wait] = self.cli.graph()["waits"]
            self.assertLess(wait["age_ms"], 60_000)
        self.assert_resolved(first, second, one, self.close_crossing_at_a(second))

    def test_agent_started_again_with_an_older_clock(self):
        incarnation = self.cli.site("a")["incarnation"]
        self.agents["a"].signal(signal.SIGKILL)
        self.agents["a"].wait()
        self.clocks["a"].set(-HOUR_S)
        self.start_agent("a", environment=self.clocks["a"].environment)
        wait_until(lambda: self.cli.site("a")["incarnation"] > incarnation and self.cli.site("a")["state"] == "complete", 15,
                   lambda: f"site a is back: {self.cli.site('a')}\n{self.agents['a'].stderr}", 0.02)
        # Its own clock would have given it a smaller one: it took the number after the one that was there.
        self.assertEqual(self.cli.site("a")["incarnation"], incarnation + 1)
        self.resolve_a_crossing("older-clock")

    def test_coordinator_started_again_with_an_older_clock(self):
        epoch = self.cli.status()["epoch"]
        self.resolve_a_crossing("first-term")
        self.gordiand.kill()
        self.clocks["gordiand"].set(-HOUR_S)
        self.start_gordiand(*LONG_LEASE, environment=self.clocks["gordiand"].environment)
        self.wait_until_ready("a", "b")
        self.assertGreater(self.cli.status()["epoch"], epoch)
        later = self.resolve_a_crossing("second-term")
        self.assertEqual(self.cli.deadlocks()["incidents"][0]["id"], later["id"])  # newest first, whatever the clock said


if __name__ == "__main__":
    unittest.main()
