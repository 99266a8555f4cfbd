"""`gordian experiment report`, and live runs: through the command line, on tiny plans.

Which page a plan gets is checked on the page itself, read by a parser that knows nothing of the program.
"""

import csv
import html.parser
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

from harness.program import binary
from harness.wait import wait_until

TITLE = "Locks & <odd> `id` 'quotes'"
PLAN = f"""
title = "{TITLE}"
about = "What <script>alert(1)</script> is asked."
seeds = 3
[base]
locks = 3
objects = 40
warmup = 20
duration = 150
unit_ms = 1
[[vary]]
setting = "mpl"
values = [4, 8]
[[vary]]
name = "strategy"
cases = [{{ strategy = "detection" }}, {{ strategy = "no_wait", label = "no'wait`id` <1> & 2" }}]
[[plot]]
title = "Throughput's `date`"
x = "mpl"
y = "throughput"
lines = "strategy"
log_x = true
"""
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Elements by id, headings, figures, and what a page must not have: errors in nesting, scripts, addresses of elsewhere."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.ids, self.errors, self.outside = [], [], [], []
        self.headings, self.captions, self.tables, self.words = [], [], {}, ""
        self.row = None
        self.feed(text)
        self.close()
        self.errors += [f"{tag} is never closed" for tag in self.stack]

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in VOID:
            self.stack.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag in ("script", "link", "iframe", "object", "img"):
            self.outside.append(tag)
        for name in ("href", "src", "xlink:href", "action"):
            if name in given and not given[name].startswith("#"):
                self.outside.append(given[name])
        self.errors += [f"{name} on {tag}" for name in given if name.startswith("on")]
        if tag == "tr" and "data-cell" in given:
            self.row = self.tables.setdefault(int(given["data-cell"]), {})
        if tag == "td" and "data-metric" in given:
            self.row[given["data-metric"]] = (float(given["data-mean"]), given["data-plus-minus"])
        if tag in ("h1", "h2"):
            self.headings.append("")
        if tag == "figcaption":
            self.captions.append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.errors.append(f"</{tag}> at {self.getpos()} closes something else")

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style",):
            self.words += data
        if self.stack and self.stack[-1] in ("h1", "h2"):
            self.headings[-1] += data
        if self.stack and self.stack[-1] == "figcaption":
            self.captions[-1] += data


class ReportCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-experiment-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.plan = self.folder / "plan with space.toml"
        self.plan.write_text(PLAN, encoding="utf-8")
        self.out = self.folder / "out"

    def gordian(self, *arguments, **options):
        return subprocess.run([binary("gordian"), "experiment", *map(str, arguments)], capture_output=True, text=True,
                              timeout=100, **options)

    def run_plan(self, *arguments):
        run = self.gordian("run", self.plan, "--out", self.out, *arguments)
        self.assertEqual(0, run.returncode, run.stderr)
        return run

    def report(self):
        made = self.gordian("report", self.out)
        self.assertEqual(0, made.returncode, made.stderr)
        return (self.out / "report.html").read_text(encoding="utf-8")

    def check_page(self, text):
        """What holds for every page; returns it parsed."""
        page = Page(text)
        self.assertEqual([], page.errors)
        self.assertEqual([], page.outside)
        self.assertEqual(len(page.ids), len(set(page.ids)), "ids are unique in the page")
        self.assertNotRegex(re.sub(r'xmlns(:xlink)?="http://www.w3.org/[^"]*"', "", text), "https?://", "nothing from elsewhere")
        for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            root = xml.etree.ElementTree.fromstring(svg)
            self.assertTrue(root.findall(".//{http://www.w3.org/2000/svg}path"))
        return page

    def check_figures(self, page):
        """Every figure of the tables is that of cells.csv."""
        compared = 0
        with open(self.out / "cells.csv", newline="", encoding="utf-8") as file:
            for cell in csv.DictReader(file):
                shown = page.tables[int(cell["cell"])]
                for metric, (mean, plus_minus) in shown.items():
                    self.assertEqual(float(cell[metric]), mean, metric)
                    self.assertEqual(cell[metric + "_plus_minus"], plus_minus, metric)
                    compared += 1
                hidden = {name for name in cell if name + "_plus_minus" in cell} - set(shown)
                for metric in hidden:
                    self.assertEqual(0, float(cell[metric]), f"{metric} is left out, but not 0")
        self.assertGreater(compared, 4 * 8)


class SimulatedTest(ReportCase):
    def test_a_page_with_everything_in_it(self):
        self.run_plan()
        text = self.report()
        page = self.check_page(text)
        self.check_figures(page)
        self.assertEqual([TITLE, "What to choose", "Charts", "Figures", "Configuration", "How to read this"], page.headings)
        self.assertEqual("Throughput's `date`", page.captions[0])
        for chart in ("Median response time", "99 % respond within", "Aborts by cause, per started transaction",
                      "Share of the work that was for nothing", "Messages of detection per commit"):
            self.assertIn(chart, page.captions)
        self.assertEqual(len(page.captions), text.count("<svg"))
        # Text is text, in words and in charts, whatever it looks like.
        self.assertIn("What <script>alert(1)</script> is asked.", page.words)
        self.assertIn("no'wait`id` <1> & 2", page.words)
        self.assertNotIn("uid=", text)
        first = xml.etree.ElementTree.fromstring(re.search(r"<svg.*?</svg>", text, re.DOTALL)[0])
        self.assertIn("no'wait`id` <1> & 2", [each.text for each in first.iter("{http://www.w3.org/2000/svg}text")])
        # What was run, and the configuration as it was.
        self.assertIn("Simulated experiment", page.words)
        self.assertIn(", simulated", page.words)
        self.assertIn(PLAN.strip(), page.words)
        self.assertNotIn("unfinished", page.ids)
        self.assertRegex(page.words, r"With mpl 4: choose (detection|no'wait)")

    def test_a_run_that_was_cut_short_says_so(self):
        self.run_plan()
        runs = (self.out / "runs.csv").read_text().splitlines(keepends=True)
        last_seed = [line for line in runs if line.split(",")[1] == "3"]  # runs end in any order
        for line in last_seed[:2]:
            runs.remove(line)
        (self.out / "runs.csv").write_text("".join(runs))
        page = self.check_page(self.report())
        self.assertIn("unfinished", page.ids)
        self.assertIn("Not finished: 2 of 4 cells", page.words)

    def test_nothing_was_run_yet(self):
        self.run_plan()
        header = (self.out / "runs.csv").read_text().splitlines(keepends=True)[0]
        (self.out / "runs.csv").write_text(header)
        self.assertIn("nothing to advise", self.check_page(self.report()).words)

    def test_the_page_on_standard_output(self):
        self.run_plan()
        made = self.gordian("report", self.out, "--out", "-")
        self.assertEqual(0, made.returncode)
        self.check_page(made.stdout)
        self.assertFalse((self.out / "report.html").exists())


class DocumentTest(ReportCase):
    def test_every_setting_is_in_the_document_with_its_default(self):
        settings = json.loads(self.gordian("settings", "--format", "json").stdout)
        document = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
        rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", document, re.MULTILINE))
        told = {each["setting"]: each["default"] or "–" for each in settings}
        self.assertEqual(told, {name: default.strip() for name, default in rows.items() if name in told})
        for shipped in json.loads(self.gordian("list", "--format", "json").stdout):
            self.assertIn(f"### {shipped['name']}\n", document, "each configuration that ships is discussed")


class BadInputTest(ReportCase):
    def refused(self, what, code, *arguments, **options):
        run = self.gordian(*arguments, **options)
        self.assertEqual(code, run.returncode, run.stderr)
        self.assertRegex(run.stderr, what)
        self.assertEqual("", run.stdout)

    def test_no_folder(self):
        self.refused("experiment run", 2, "report", self.folder / "nowhere")

    def test_broken_runs(self):
        self.run_plan()
        lines = (self.out / "runs.csv").read_text().splitlines(keepends=True)
        (self.out / "runs.csv").write_text("".join(lines[:3]) + "0,9,what,is,this\n" + "".join(lines[3:]))
        self.refused(r"runs\.csv:4: ", 2, "report", self.out)

    def test_no_gnuplot(self):
        self.run_plan()
        self.refused("gnuplot-nox", 3, "report", self.out, env={**os.environ, "PATH": str(self.folder)})
        self.assertFalse((self.out / "report.html").exists())

    def test_a_page_that_cannot_be_written(self):
        self.run_plan()
        self.refused("cannot be written", 2, "report", self.out, "--out", self.folder / "no" / "page.html")

    def test_what_cannot_run_live_is_named(self):
        for setting, key in (("cpus = 2", "cpus"), ("disks = 1", "disks"), ("delay = 1", "delay"), ("jitter = 0.5", "jitter"),
                             ("pause_rate = 0.1\npause_length = 1", "pause_rate"), ("sites = 40", "sites"),
                             ("probe_filter = true", "probe_filter"), ("terminals = 90000", "terminals")):
            with self.subTest(key=key):
                self.plan.write_text(PLAN.replace("[base]", "[base]\n" + setting), encoding="utf-8")
                self.refused(f"cannot be run live: {key}: .*expected", 2, "run", self.plan, "--live", "--out", self.out)
                self.assertFalse(self.out.exists())

    def test_a_live_run_without_end(self):
        self.plan.write_text(PLAN.replace("duration = 150", "duration = 90000000"), encoding="utf-8")
        self.refused("the most is 12 h", 2, "run", self.plan, "--live", "--out", self.out)

    def test_live_results_are_not_mixed_with_simulated_ones(self):
        self.run_plan()
        self.refused("simulated", 2, "run", self.plan, "--live", "--out", self.out)


class LiveTest(ReportCase):
    def services(self):
        """Processes that a live run of this test's folder has started."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.mark in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue  # it has ended
        return found

    def start(self):
        """A live run in the background, with a folder for its services that only it has."""
        temporary = self.folder / "temporary"
        temporary.mkdir()
        self.mark = str(temporary).encode()
        process = subprocess.Popen([binary("gordian"), "experiment", "run", str(self.plan), "--live", "--out", str(self.out)],
                                   env={**os.environ, "TMPDIR": str(temporary)}, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: len(self.services()) >= 2, what="the services run")
        return process, temporary

    def test_the_same_plan_on_real_processes(self):
        self.plan.write_text(PLAN.replace("duration = 150", "duration = 400"), encoding="utf-8")
        run = self.run_plan("--live", "--seeds", "2")
        self.assertIn("4 cells, together 3 s at most", run.stderr)
        page = self.check_page(self.report())
        self.check_figures(page)
        self.assertIn("Experiment on live processes", page.words)
        self.assertIn("unit 1 ms", page.words)
        self.assertIn("Not measured on live runs: pw", page.words)
        self.assertIn("2 of the 3 seeds", page.words)
        for cell, shown in page.tables.items():
            self.assertGreater(shown["throughput"][0], 0, cell)
        self.assertGreater(sum(page.tables[cell]["aborts_refused"][0] for cell in (1, 3)), 0, "no_wait refuses")
        self.assertEqual(0, sum(page.tables[cell]["aborts_refused"][0] for cell in (0, 2)), "detection does not")

    def test_every_strategy_runs(self):
        cases = ["detection", "periodic", "detection_timeout", "edge_chasing", "timeout", "no_wait", "wait_die", "wound_wait",
                 "ordered", "lease"]
        listed = ", ".join(f'{{ strategy = "{each}" }}' for each in cases)
        plan = PLAN.replace("values = [4, 8]", "values = [6]").replace("duration = 150", "duration = 9000\ncommits = 150\nlease = 60")
        plan = plan.replace("objects = 40", "objects = 20\nperiod = 8\ntimeout = 20")
        plan = re.sub(r"cases = .*", f"cases = [{listed}]", plan)
        plan = plan.replace('strategy = "edge_chasing"', 'strategy = "edge_chasing", sites = 2, warmup = 1500')
        self.plan.write_text(plan, encoding="utf-8")
        self.run_plan("--live", "--seeds", "1")
        with open(self.out / "cells.csv", newline="", encoding="utf-8") as file:
            cells = {case: cell for case, cell in zip(cases, csv.DictReader(file))}
        for case, cell in cells.items():
            with self.subTest(strategy=case):
                self.assertGreaterEqual(float(cell["commits"]), 150)
                self.assertEqual(0, float(cell["aborts_other"]))
        for case, cause in (("detection", "deadlock"), ("periodic", "deadlock"), ("edge_chasing", "deadlock"), ("no_wait", "refused"),
                            ("wait_die", "refused"), ("wound_wait", "wounded"), ("timeout", "timeout")):
            self.assertGreater(float(cells[case]["aborts_" + cause]), 0, case)
        self.assertEqual(0, float(cells["ordered"]["aborts"]), "who asks in order is never aborted")

    def test_ctrl_c_ends_it_and_leaves_nothing(self):
        self.plan.write_text(PLAN.replace("duration = 150", "duration = 60000"), encoding="utf-8")
        process, temporary = self.start()
        process.send_signal(signal.SIGINT)
        self.assertEqual(1, process.wait(timeout=30))
        self.assertIn("stopped", process.stderr.read())
        self.assertEqual([], self.services())
        self.assertEqual([], list(temporary.iterdir()))

    def test_a_killed_run_takes_its_services_with_it(self):
        self.plan.write_text(PLAN.replace("duration = 150", "duration = 60000"), encoding="utf-8")
        process, _ = self.start()
        process.kill()
        process.wait(timeout=30)
        wait_until(lambda: not self.services(), what="the services have ended")


if __name__ == "__main__":
    unittest.main()
