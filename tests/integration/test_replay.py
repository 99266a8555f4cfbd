"""`gordian replay --check` over every trace of tests/scenarios, as a user would call it."""

import pathlib
import subprocess
import unittest

from harness.program import binary

SCENARIOS = pathlib.Path(__file__).resolve().parents[1] / "scenarios"
# What this build refuses, with the word that its message must name.
REFUSED = {
    "greenplum-dotted-106": "dotted", "greenplum-dotted-readme": "dotted",
    "kofn-enough-free": "need", "or-knot": "need", "or-no-deadlock": "need",
    "pg-soft": "behind",
    "ring-2-on-4-coordinators": "coordinators", "ring-5-on-4-coordinators": "coordinators",
    "ring-32-on-4-coordinators": "coordinators",
}


def check(*files):
    return subprocess.run([binary("gordian"), "replay", "--check", *files], capture_output=True, text=True, timeout=60, check=False)


class ScenarioTest(unittest.TestCase):
    def test_every_trace_that_this_build_understands_holds(self):
        files = [file for file in sorted(SCENARIOS.glob("*.jsonl")) if file.stem not in REFUSED]
        self.assertGreater(len(files), 30)
        done = check(*files)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(files)} of {len(files)} traces hold", done.stdout)

    def test_the_others_are_refused_with_file_line_and_reason(self):
        for stem, word in REFUSED.items():
            with self.subTest(stem):
                done = check(SCENARIOS / f"{stem}.jsonl")
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertRegex(done.stderr, rf"{stem}\.jsonl:\d+: found .*\"{word}\".*does not support yet")

    def test_an_expectation_that_does_not_hold_is_told(self):
        trace = '{"op":"wait","txn":"1","for":["2"]}\n{"op":"wait","txn":"2","for":["1"]}\n{"op":"expect","victims":["1"]}\n'
        done = subprocess.run([binary("gordian"), "replay", "--check", "/dev/stdin"], input=trace, capture_output=True, text=True,
                              timeout=10, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("0 of 1 traces hold", done.stdout)
