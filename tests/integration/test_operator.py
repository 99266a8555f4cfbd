"""What an administrator meets: gordiand's settings, history, record and log, and the command line's answers."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))

from harness import Gordian, Gordiand, wait_until  # noqa: E402
from harness.program import binary  # noqa: E402
from lock_table import Aborted, LockTable  # noqa: E402

NASTY = "T\n\x1b[2J\\x41<b>\"&"
NASTY_SEEN = "T\\x0a\\x1b[2J\\x5cx41<b>\"&"


def run(program, *arguments):
    return subprocess.run([binary(program), *arguments], capture_output=True, text=True, timeout=10, check=False)


class OperatorCase(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))

    def gordiand(self, *arguments, **options):
        return self.stack.enter_context(Gordiand(*arguments, **options))

    def cross(self, coordinator, older="T1", younger="T2"):
        """Two transactions cross at sites a and b; the incident, once it is resolved."""
        with LockTable("a", coordinator.endpoint) as a, LockTable("b", coordinator.endpoint) as b:
            for start, txn in enumerate((older, younger)):
                for table in (a, b):
                    table.begin(txn, start)
            a.lock(older, "row 1").result(0)
            b.lock(younger, "row 2").result(0)
            waiting, victim = b.lock(older, "row 2"), a.lock(younger, "row 1")
            with self.assertRaises(Aborted):
                victim.result(5)
            waiting.result(5)

            def resolved():
                return [i for i in coordinator.cli.deadlocks()["incidents"] if i["outcome"] == "resolved"]

            return wait_until(resolved, 5)[0]


class StoryTest(OperatorCase):
    def test_an_incident_is_listed_told_and_drawn(self):
        coordinator = self.gordiand()
        incident = self.cross(coordinator)
        cli = coordinator.cli

        table = cli.run("deadlocks").stdout.splitlines()
        self.assertEqual(len(table), 2)
        for part in (incident["id"], "resolved", "T2", "2: T1, T2", "a, b"):
            self.assertIn(part, table[1])

        story = cli.run("deadlocks", "--incident", incident["id"]).stdout
        for part in ("T2 (client of T2) had waited", "at site a", "for      row 1 (X)", "held by  T1 (client of T1)",
                     "Victim:  T2", "policy youngest", "Spared:  T1", "abort of T2 ordered at site a"):
            self.assertIn(part, story)

        picture = self.folder / "incident.svg"
        drawn = cli.run("graph", "--incident", incident["id"], "--format", "svg", "-o", str(picture))
        self.assertEqual((drawn.returncode, drawn.stdout, drawn.stderr), (0, "", ""))
        seen = "".join(xml.etree.ElementTree.parse(picture).getroot().itertext())
        for part in (f"Deadlock {incident['id']}", "victim", "row 2", "held by"):
            self.assertIn(part, seen)
        self.assertIn("cluster_1", cli.run("graph", "--incident", incident["id"]).stdout)
        self.assertEqual(json.loads(cli.run("graph", "--incident", incident["id"], "--format", "json").stdout),
                         {"incidents": [incident]})

    def test_ids_from_outside_forge_nothing(self):
        coordinator = self.gordiand("--log-format", "json", "--log-level", "debug")
        incident = self.cross(coordinator, "T1", NASTY)
        self.assertEqual(incident["victims"], ["T\n\x1b[2J\\x5cx41<b>\"&"])
        for arguments in (["deadlocks"], ["deadlocks", "--incident", incident["id"]]):
            printed = coordinator.cli.run(*arguments).stdout
            self.assertIn(NASTY_SEEN, printed)
            self.assertNotIn("\x1b", printed)
        svg = coordinator.cli.run("graph", "--incident", incident["id"], "--format", "svg").stdout
        self.assertIn("\\x1b[2J", "".join(xml.etree.ElementTree.fromstring(svg).itertext()))
        self.assertEqual(coordinator.stop(), 0)
        lines = [json.loads(line) for line in coordinator.stderr.splitlines()]
        self.assertTrue(any("T\n\x1b" in line["message"] for line in lines))
        self.assertEqual({frozenset(line) for line in lines}, {frozenset(("time", "level", "message"))})


class RestartTest(OperatorCase):
    def test_a_killed_coordinator_knows_its_incidents_epoch_and_sites(self):
        history = str(self.folder / "history.db")
        first = self.gordiand(history=history)
        incident = self.cross(first)
        with LockTable("stays", first.endpoint):
            first.cli.wait_for_sites("stays")
            first.wait_until_stored(incident["id"], sites=["stays"])
            first.kill()
        again = self.gordiand(history=history)
        self.assertEqual(again.cli.deadlocks()["incidents"], [incident])
        status = again.cli.status()
        self.assertEqual(status["epoch"], 2)
        self.assertTrue(status["degraded"])
        # a and b said goodbye
        self.assertEqual([(site["site"], site["state"]) for site in status["sites"]], [("stays", "missing")])
        text = again.cli.run("status").stdout
        self.assertTrue(text.startswith("DEGRADED: waits are missing from sites stays (missing)"), text)

    def test_without_a_history_it_says_so(self):
        coordinator = self.gordiand("--history", "")
        self.assertIn("no history file", coordinator.stderr)
        self.assertEqual(len(coordinator.cli.deadlocks()["incidents"]), 0)
        self.cross(coordinator)
        self.assertEqual(len(coordinator.cli.deadlocks()["incidents"]), 1)


class RecordTest(OperatorCase):
    def test_a_recorded_deadlock_is_found_again_at_a_desk(self):
        record = self.folder / "trace.jsonl"
        coordinator = self.gordiand("--record", str(record))
        incident = self.cross(coordinator)
        self.assertEqual(coordinator.stop(), 0)
        replayed = run("gordian", "replay", "--format", "json", str(record))
        self.assertEqual(replayed.returncode, 0, replayed.stderr)
        [found] = [json.loads(line) for line in replayed.stdout.splitlines()]
        self.assertEqual(found["victims"], incident["victims"])
        self.assertIn(f"incident {incident['id']}, resolved", record.read_text())


class StartAndStopTest(OperatorCase):
    def test_the_endpoint_file_lives_as_long_as_the_program(self):
        coordinator = self.gordiand()
        file = coordinator.folder / "endpoint"  # the harness asks for it
        self.assertEqual(file.read_text(), coordinator.endpoint + "\n")
        self.assertEqual(coordinator.stop(), 0)
        self.assertFalse(file.exists())
        self.assertEqual(coordinator.stdout, "")

    def test_what_cannot_be_used_is_refused(self):
        taken = self.gordiand()
        damaged = self.folder / "damaged.db"
        damaged.write_text("x" * 5000)
        absent = str(self.folder / "absent" / "file")
        for code, said, *arguments in ((3, "Address already in use", "--listen", taken.endpoint),
                                       (2, "expected tcp://", "--listen", "7410"),
                                       (2, "not a SQLite database", "--history", str(damaged)),
                                       (2, "cannot be opened", "--history", absent),
                                       (2, "cannot be written", "--record", absent),
                                       (2, "cannot write", "--listen", "tcp://127.0.0.1:*", "--endpoint-file", absent),
                                       (2, "readable TOML file", "--config", absent),
                                       (2, "expected one of: youngest", "--policy", "eldest"),
                                       (2, "two heartbeats", "--lease", "600ms"),
                                       (2, "--help", "--no-such-option")):
            ended = run("gordiand", *arguments)
            self.assertEqual((ended.returncode, ended.stdout), (code, ""), ended.stderr)
            self.assertIn(said, ended.stderr)
        self.assertEqual(damaged.read_text(), "x" * 5000)

    def test_the_printed_settings_are_a_file_that_can_be_used(self):
        file = self.folder / "gordiand.toml"
        file.write_text(run("gordiand", "--policy", "oldest", "--lease", "7s", "--print-config").stdout)
        checked = run("gordiand", "--config", str(file), "--check-config")
        self.assertEqual((checked.returncode, checked.stdout), (0, "ok\n"), checked.stderr)
        self.assertIn('lease = "7s"  # file', run("gordiand", "--config", str(file), "--print-config").stdout)


class ExitCodeTest(OperatorCase):
    def test_each_kind_of_failure_has_its_code(self):
        coordinator = self.gordiand()
        nobody = Gordian("tcp://127.0.0.1:1")
        for code, said, cli, *arguments in ((3, "is gordiand running", nobody, "--timeout", "100ms", "status"),
                                            (2, "endpoint", Gordian("nonsense"), "status"),
                                            (2, "duration", nobody, "--timeout", "soon", "status"),
                                            (1, "no incident 1-7", coordinator.cli, "deadlocks", "--incident", "1-7"),
                                            (1, "no incident 1-7", coordinator.cli, "graph", "--incident", "1-7"),
                                            (2, "--format", coordinator.cli, "status", "--format", "xml"),
                                            (2, "cannot be written", coordinator.cli, "graph", "-o", str(self.folder)),
                                            (2, "--policy", coordinator.cli, "replay", "--policy", "eldest", "x"),
                                            (2, "--help", coordinator.cli)):
            ended = cli.run(*arguments)
            self.assertEqual((ended.returncode, ended.stdout), (code, ""), ended.stderr)
            self.assertIn(said, ended.stderr)
        self.assertEqual(coordinator.cli.run("deadlocks").stdout, "no deadlocks so far\n")
        self.assertIn("no site has reported yet", coordinator.cli.run("status").stdout)
        self.assertIn("nobody waits", coordinator.cli.run("graph", "--format", "svg").stdout)


if __name__ == "__main__":
    unittest.main()
