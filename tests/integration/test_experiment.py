"""`gordian experiment` as a user runs it: configurations, results in a folder, a run that is killed and goes on."""

import csv
import json
import pathlib
import subprocess
import tempfile
import unittest

from harness.program import binary
from harness.wait import wait_until

PLAN = """title = "small"
seeds = 3
[base]
duration = {duration}
[[vary]]
setting = "mpl"
values = [5, 10]
[[vary]]
name = "strategy"
cases = [{{ strategy = "detection" }}, {{ strategy = "timeout", timeout = 8 }}]
"""


def experiment(*arguments, cwd=None):
    return subprocess.run([binary("gordian"), "experiment", *map(str, arguments)], capture_output=True, text=True, timeout=100,
                          check=False, cwd=cwd)


class ExperimentTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gordian-experiment-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def plan(self, duration):
        path = self.folder / "small.toml"
        path.write_text(PLAN.format(duration=duration), encoding="utf-8")
        return path

    def test_a_run_tells_every_cell_with_its_interval(self):
        run = experiment("run", self.plan(200), "--jobs", 2, "--format", "json", cwd=self.folder)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("12 of 12", run.stderr)
        told = json.loads(run.stdout)
        self.assertEqual([("5", "detection"), ("5", "timeout 8"), ("10", "detection"), ("10", "timeout 8")],
                         [(cell["at"]["mpl"], cell["at"]["strategy"]) for cell in told["cells"]])
        for cell in told["cells"]:
            self.assertEqual(3, cell["seeds"])
            self.assertGreater(cell["metrics"]["throughput"]["mean"], 0.3)
            self.assertGreater(cell["metrics"]["throughput"]["plus_minus"], 0)
        out = self.folder / "gordian-small"
        with open(out / "cells.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(4, len(rows))
        self.assertAlmostEqual(float(rows[1]["throughput"]), told["cells"][1]["metrics"]["throughput"]["mean"])
        self.assertEqual((out / "plan.toml").read_text(), self.plan(200).read_text())
        self.assertIn("simulated", (out / "version.txt").read_text())

    def test_a_run_that_is_killed_goes_on_where_it_was(self):
        plan, out = self.plan(100_000), self.folder / "out"
        arguments = [binary("gordian"), "experiment", "run", str(plan), "--jobs", "1", "--out", str(out)]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            runs = out / "runs.csv"
            wait_until(lambda: runs.exists() and runs.read_text().count("\n") >= 2, 60, "a finished run")
            process.kill()
        before = runs.read_text().splitlines()[1:]
        self.assertLess(len(before), 12)
        again = experiment("run", plan, "--jobs", 2, "--out", out)
        self.assertEqual(again.returncode, 0, again.stderr)
        after = runs.read_text().splitlines()[1:]
        self.assertEqual(12, len(after))
        self.assertEqual(before[0], after[0])
        whole = experiment("run", plan, "--jobs", 2, "--out", self.folder / "whole")
        self.assertEqual(whole.returncode, 0, whole.stderr)
        self.assertEqual((self.folder / "whole" / "cells.csv").read_text(), (out / "cells.csv").read_text())
        plan.write_text(plan.read_text().replace("[5, 10]", "[5, 20]"), encoding="utf-8")
        other = experiment("run", plan, "--out", out)
        self.assertEqual(other.returncode, 2)
        self.assertIn("another configuration", other.stderr)

    def test_bad_configurations_name_line_and_key(self):
        plan = self.folder / "bad.toml"
        for text, what in (("[base]\nmpl = -3\n", "bad.toml:2: mpl: -3 was given, expected"),
                           ("[base]\n\nspeed = 1\n", 'bad.toml:3: unknown setting "speed"'), ("seeds = [\n", "bad.toml:")):
            with self.subTest(text=text):
                plan.write_text(text, encoding="utf-8")
                run = experiment("run", plan, cwd=self.folder)
                self.assertEqual(run.returncode, 2)
                self.assertIn(what, run.stderr)
                self.assertEqual(run.stdout, "")
        self.assertEqual(["bad.toml"], [path.name for path in self.folder.iterdir()])
        missing = experiment("run", self.folder / "none.toml")
        self.assertEqual(missing.returncode, 2)
        self.assertIn("crossover", missing.stderr)

    def test_what_ships_is_listed_and_shown(self):
        listed = json.loads(experiment("list", "--format", "json").stdout)
        names = {each["name"] for each in listed}
        self.assertLessEqual({"crossover", "detection-interval", "thrashing", "finite-resources", "victim-policies", "sites-and-delay",
                              "timeout-and-jitter", "restart-delay", "hot-spot", "lease-and-pauses"}, names)
        shown = experiment("show", "crossover")
        self.assertEqual(shown.returncode, 0)
        copy = self.folder / "copy.toml"
        copy.write_text(shown.stdout.replace("duration = 40000", "duration = 100"), encoding="utf-8")
        self.assertEqual(experiment("run", copy, "--seeds", 1, "--out", self.folder / "copied").returncode, 0)
        self.assertEqual(experiment("show", "nothing").returncode, 1)
        settings = json.loads(experiment("settings", "--format", "json").stdout)
        self.assertIn("timeout", {each["setting"] for each in settings})

    def test_verify_tells_measured_and_predicted(self):
        verified = experiment("verify", "--only", "zipf", "--format", "json")
        self.assertEqual(verified.returncode, 0, verified.stderr)
        self.assertTrue(all(check["passed"] for check in json.loads(verified.stdout)))
        table = experiment("verify", "--only", "zipf").stdout
        self.assertIn("predicted", table.splitlines()[0])
        # Far too short to be right: the answer is no.
        self.assertEqual(experiment("verify", "--only", "periods", "--effort", 0.001).returncode, 1)
        self.assertEqual(experiment("verify", "--only", "gravity").returncode, 2)


if __name__ == "__main__":
    unittest.main()
