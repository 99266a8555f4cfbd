"""The bank, the transfers and the demo: deadlocks across nodes are broken, everything commits, and no money is lost."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from harness import Gordiand, Program, wait_until  # noqa: E402

EXAMPLES = pathlib.Path(os.environ.get("GORDIAN_EXAMPLES", ROOT / "build" / "release" / "examples"))
DEMO = ["/usr/bin/python3", "-B", ROOT / "scripts" / "embedded_demo.py"]


def run(*command, **environment):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, **environment})


class BankTest(unittest.TestCase):
    def test_all_transfers_commit_and_the_total_stays(self):
        with Gordiand() as coordinator:
            done = run(EXAMPLES / "bank", GORDIAN_COORDINATOR=coordinator.endpoint)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            committed, victims, before, after = (int(number) for number in re.findall(r"\d+", done.stdout))
            self.assertEqual((committed, before), (400, after))
            self.assertGreater(victims, 0)

            def settled():
                incidents = coordinator.cli.json("deadlocks", "--limit", "5000")["incidents"]
                return incidents if all(incident["outcome"] != "resolving" for incident in incidents) else None

            incidents = wait_until(settled, 10, "every deadlock is settled", 0.02)
        self.assertEqual(sum(len(incident["victims"]) for incident in incidents), victims)
        for incident in incidents:
            self.assertEqual({edge["site"] for edge in incident["edges"]}, {"north", "south"})
            self.assertEqual({txn["label"] for txn in incident["txns"]}, {"transfer"})


class TransfersTest(unittest.TestCase):
    def test_wrong_usage(self):
        for arguments in ((), ("nonsense",), ("a=tcp://127.0.0.1:1", "0"), ("a=tcp://127.0.0.1:1", "1", "x")):
            with self.subTest(arguments=arguments):
                done = run(EXAMPLES / "transfers", *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertRegex(done.stderr, "usage|transfers: ")


class DemoTest(unittest.TestCase):
    def test_it_goes_as_promised(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run(*DEMO, "--seconds", "3", "--output", folder)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertRegex(done.stdout, r"transfers committed, the total is 48,000 as before\n")
            self.assertRegex(done.stdout, r"[1-9]\d* deadlocks broken, [1-9]\d* of them across agents")
            self.assertRegex(done.stdout, r"Victim: +T\d+\.\d+")
            picture = xml.etree.ElementTree.parse(pathlib.Path(folder, "incident.svg")).getroot()
            self.assertTrue(picture.tag.endswith("svg"))
            self.assertIn("digraph", pathlib.Path(folder, "incident.dot").read_text())

    def test_wrong_usage(self):
        self.assertEqual(run(*DEMO, "--seconds", "0").returncode, 2)


class InterruptTest(unittest.TestCase):
    def test_interrupted_it_leaves_nothing_running(self):
        with tempfile.TemporaryDirectory() as folder:
            demo = Program([*DEMO, "--seconds", "100", "--output", folder], {"TMPDIR": folder})
            self.addCleanup(demo.close)
            demo.start()
            demo.wait_for_output(r"[1-9][\d,]* transfers/s", 30)
            self.assertGreater(len(programs_in(folder)), 5)  # the demo, gordiand, three agents, the workload
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does it
            self.assertEqual(demo.wait(20), 130, demo.stderr)
            self.assertIn("stopped", demo.stderr)
            self.assertEqual(programs_in(folder), [])
            self.assertEqual(os.listdir(folder), [])


def programs_in(folder):
    """The processes whose temporary files are there."""
    found = []
    for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is another user's
            if f"TMPDIR={folder}\0".encode() in environment.read_bytes():
                found.append(environment.parent.name)
    return found


if __name__ == "__main__":
    unittest.main()
