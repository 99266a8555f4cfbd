"""Transfers over three lock agents that deadlock across them, and Gordian breaking the deadlocks: the story of scripts/demo.

Starts a coordinator, three gordian-agents and the workload (examples/transfers.cpp), shows its counters live, then the story of one
deadlock, and checks that no money was lost. Stops everything again, on Ctrl-C too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import time
from typing import NamedTuple

from demo_stage import ROOT, Failed, play, show_incident

from harness import Gordiand, LockAgent, Program, wait_until

SITES = ("berlin", "paris", "rome")
SESSIONS, ACCOUNTS = 16, 48
PUBLISH_AFTER = "5ms"
INCIDENTS_ASKED = 1000  # more than there can be between two looks
LOOK_EVERY_S = 1.0
DRAW_EVERY_S = 0.2


class Workload(Program):
    """examples/transfers.cpp; `counters` is what it printed last."""

    def __init__(self, agents, seconds):
        folder = os.environ.get("GORDIAN_EXAMPLES", ROOT / "build" / "release" / "examples")
        where = ",".join(f"{agent.site}={agent.endpoint}" for agent in agents)
        super().__init__([pathlib.Path(folder) / "transfers", where, seconds, SESSIONS, ACCOUNTS])

    @property
    def counters(self):
        complete = self.stdout.rpartition("\n")[0].splitlines()
        return json.loads(complete[-1]) if complete else {"seconds": 0.0, "committed": 0, "aborted": {}}


class Deadlock(NamedTuple):
    """What is kept of an incident."""

    outcome: str
    sites: int
    edges: int
    stood_ms: float  # from the closing of the cycle to the abort of its last victim


def kept(incident):
    youngest_ms = min(edge["age_ms"] for edge in incident["edges"])  # when it was confirmed
    return Deadlock(incident["outcome"], len({edge["site"] for edge in incident["edges"]}), len(incident["edges"]),
                    youngest_ms + (incident["resolve_us"] - incident["confirm_us"]) / 1000)


class Deadlocks:
    """The incidents that the coordinator told of so far."""

    def __init__(self, gordian):
        self._gordian = gordian
        self._settled = {}  # by the incident's id
        self.broken = self.across = 0
        self.median_ms = None

    def look(self):
        """Asks again; whether all are settled."""
        incidents = self._gordian.json("deadlocks", "--limit", str(INCIDENTS_ASKED))["incidents"]
        settled = [incident for incident in incidents if incident["outcome"] != "resolving"]
        self._settled |= {incident["id"]: kept(incident) for incident in settled}
        broken = [each for each in self._settled.values() if each.outcome == "resolved"]
        self.broken, self.across = len(broken), sum(each.sites > 1 for each in broken)
        self.median_ms = statistics.median(each.stood_ms for each in broken) if broken else None
        return len(settled) == len(incidents)

    def simplest(self):
        """The one to tell of: broken, over many agents, with few transactions."""
        return max((name for name, each in self._settled.items() if each.outcome == "resolved"),
                   key=lambda name: (self._settled[name].sites, -self._settled[name].edges))


class Board:
    """The live counters: drawn again in place on a terminal, else a line per second."""

    def __init__(self, screen, workload, deadlocks):
        self._screen, self._workload, self._deadlocks = screen, workload, deadlocks
        self._before = self._now = (0.0, 0, 0)  # time, transfers, deadlocks at the last two looks

    def run(self):
        looked = 0.0
        while self._workload.running():
            if time.monotonic() - looked >= LOOK_EVERY_S:
                looked = time.monotonic()
                self._look()
                if not self._screen.terminal and self._now[0]:
                    self._screen.say(self._line())
            if self._screen.terminal:
                self._screen.redraw(self._lines())
            time.sleep(DRAW_EVERY_S)

    def _look(self):
        self._deadlocks.look()
        counters = self._workload.counters
        self._before, self._now = self._now, (counters["seconds"], counters["committed"], self._deadlocks.broken)

    def _rates(self):
        seconds = (self._now[0] - self._before[0]) or 1.0
        return [(now - before) / seconds for now, before in zip(self._now[1:], self._before[1:])]

    def _median(self):
        median = self._deadlocks.median_ms
        return "-" if median is None else f"{median:.1f} ms"

    def _line(self):
        transfers, deadlocks = self._rates()
        return (f"  {self._now[0]:5.1f} s  {transfers:7,.0f} transfers/s  {deadlocks:5,.1f} deadlocks/s"
                f"  median {self._median()}  aborts: {reasons(self._workload.counters)}")

    def _lines(self):
        counters = self._workload.counters
        transfers, deadlocks = self._rates()
        return [f"  time      {counters['seconds']:9.1f} s",
                f"  transfers {counters['committed']:9,}   {transfers:7,.0f} /s",
                f"  deadlocks {self._deadlocks.broken:9,}   {deadlocks:7,.1f} /s   {self._deadlocks.across:,} of them across agents",
                f"  broken in {self._median():>9}   from the closing of the cycle to the victim's abort, median",
                f"  aborts    {reasons(counters)}"]


def reasons(counters):
    return ", ".join(f"{count:,} {why}" for why, count in counters["aborted"].items()) or "none"


def check(workload, deadlocks):
    """What the demo promises. Raises Failed."""
    if workload.wait() != 0:
        raise Failed(f"the workload ended with {workload.process.returncode}: {workload.stderr}")
    wait_until(deadlocks.look, 10, "every deadlock is settled", 0.05)
    counters = workload.counters
    if counters["total_before"] != counters["total_after"]:
        raise Failed(f"money was lost or made: {counters}")
    if set(counters["aborted"]) - {"deadlock"}:
        raise Failed(f"a transfer was aborted for another reason than a deadlock: {counters}")
    if not deadlocks.across:
        raise Failed("no deadlock across agents was broken")
    return counters


def tell_story(screen, arguments):
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(Gordiand())
        agents = []
        for site in SITES:
            state = coordinator.folder / f"{site}.state"
            agents.append(stack.enter_context(LockAgent(site, state, "--publish-after", PUBLISH_AFTER, coordinator=coordinator.endpoint)))
        coordinator.cli.wait_for_sites(*SITES)
        screen.title(f"{SESSIONS} sessions move money between {ACCOUNTS} accounts; their locks live at {len(SITES)} agents")
        screen.say("  each transfer locks three accounts in any order, so they deadlock, and mostly no agent can see it alone\n")
        workload = stack.enter_context(Workload(agents, arguments.seconds))
        deadlocks = Deadlocks(coordinator.cli)
        Board(screen, workload, deadlocks).run()
        counters = check(workload, deadlocks)
        screen.title(f"{counters['committed']:,} transfers committed, the total is {counters['total_after']:,} as before")
        screen.say(f"  {deadlocks.broken:,} deadlocks broken, {deadlocks.across:,} of them across agents, in"
                   f" {deadlocks.median_ms:.1f} ms (median); every victim was run again and committed")
        incident = deadlocks.simplest()
        screen.title(f"One of them: gordian deadlocks --incident {incident}")
        show_incident(screen, coordinator.cli, incident, arguments.output)


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=15, metavar="N", help="how long it runs (15)")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "demo", metavar="FOLDER", help="where the pictures go (demo)")
    arguments = parser.parse_args()
    if not 1 <= arguments.seconds <= 3600:
        parser.error("--seconds needs a number from 1 to 3600")
    return play(lambda screen: tell_story(screen, arguments))


if __name__ == "__main__":
    sys.exit(main())
