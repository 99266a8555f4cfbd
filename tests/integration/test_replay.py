"""`gordian replay --check` over every trace of tests/scenarios, as a user would call it."""

import pathlib
import subprocess
import unittest

from harness.program import binary

SCENARIOS = pathlib.Path(__file__).resolve().parents[1] / "scenarios"


def check(*files):
    return subprocess.run([binary("gordian"), "replay", "--check", *files], capture_output=True, text=True, timeout=60, check=False)


class ScenarioTest(unittest.TestCase):
    def test_every_trace_holds(self):
        files = sorted(SCENARIOS.glob("*.jsonl"))
        self.assertGreater(len(files), 42)
        done = check(*files)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(files)} of {len(files)} traces hold", done.stdout)

    def test_an_expectation_that_does_not_hold_is_told(self):
        trace = '{"op":"wait","txn":"1","for":["2"]}\n{"op":"wait","txn":"2","for":["1"]}\n{"op":"expect","victims":["1"]}\n'
        done = subprocess.run([binary("gordian"), "replay", "--check", "/dev/stdin"], input=trace, capture_output=True, text=True,
                              timeout=10, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("0 of 1 traces hold", done.stdout)
