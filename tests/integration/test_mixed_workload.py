"""Eight clients that cross on two servers for a minute: every deadlock is broken, and every abort is accounted for.

Duration: GORDIAN_WORKLOAD_SECONDS, default 60. Each error that a client saw, and each abort in a server's log, must belong
to a victim of a stored incident whose edges are a cycle through it, to the user who cancels now and then, or to the server's own
detector of local deadlocks. What does not is printed.
"""

import collections
import os
import re
import statistics
import sys
import threading
import time
import unittest

from harness import wait_until
from postgres_case import PostgresCase
from workload import CANCELLED, LOCAL_DEADLOCK, TERMINATED, Canceller, Story, WorkloadClient

SECONDS = float(os.environ.get("GORDIAN_WORKLOAD_SECONDS", "60"))
CLIENTS = 8
BLOCKED_MAX_S = 10.0
WINDOW_S = 2.0
CANCEL_ARRIVES_S = 2.0  # a user's cancel is a signal: it may hit a moment after it was sent

LOGGED = re.compile(r"^\S+ \S+ \S+ \[(\d+)\] .*?\b(?:ERROR|FATAL):  (.*)$", re.MULTILINE)
KINDS_LOGGED = {"canceling statement due to user request": CANCELLED, "deadlock detected": LOCAL_DEADLOCK,
                "terminating connection due to administrator command": TERMINATED}
ORDERED = re.compile(r"^(?:abort of|release of the locks of) (\S+) ordered at site (\w+)")


def on_cycle(txn, edges):
    """Does a path of these (waiter, blocker) edges lead from the transaction back to it?"""
    reached, todo = set(), [txn]
    while todo:
        further = {blocker for waiter, blocker in edges if waiter == todo[-1]} - reached
        reached |= further
        todo[-1:] = further
    return txn in reached


class Accounts:
    """Who answers for which error."""

    def __init__(self, story, incidents):
        self._cancels = list(story.cancels)
        self._orders = collections.Counter()  # (victim, site) → how often one was given
        for incident in incidents:
            for step in incident["steps"]:
                if ordered := ORDERED.match(step["what"]):
                    self._orders[ordered[1], ordered[2]] += 1
        self.reasons = collections.Counter()
        # What can have one reason only goes first, so that it is not taken by what could have had another.
        failures = sorted(story.failures, key=lambda f: self._of_order(f) and self._of_user(f) is not None)
        self.unaccounted = [failure for failure in failures if not self._account(failure)]

    def _of_order(self, failure):
        return failure.kind in (CANCELLED, TERMINATED) and self._orders[failure.txn, failure.site] > 0

    def _of_user(self, failure):
        if failure.kind != CANCELLED:
            return None
        return next((cancel for cancel in self._cancels if (cancel.site, cancel.pid) == (failure.site, failure.pid)
                     and cancel.at <= failure.at <= cancel.at + CANCEL_ARRIVES_S), None)

    def _account(self, failure):
        if failure.kind == LOCAL_DEADLOCK:
            self.reasons[LOCAL_DEADLOCK] += 1
        elif self._of_order(failure):
            self._orders[failure.txn, failure.site] -= 1
            self.reasons[f"{failure.kind} as victim"] += 1
        elif cancel := self._of_user(failure):
            self._cancels.remove(cancel)
            self.reasons["cancelled by the user"] += 1
        else:
            return False
        return True


class MixedWorkloadTest(PostgresCase):
    agent_options = []  # the defaults: this is how it is run

    def setUp(self):
        super().setUp()
        self.logged_before = {site: len(server.log) for site, server in self.servers.items()}
        self.story, self.stop = Story(), threading.Event()
        self.clients = [WorkloadClient(number, self.servers, self.story, self.stop) for number in range(CLIENTS)]
        self.canceller = Canceller(self.servers, self.clients, self.story, self.stop)
        self.blocked_longest_s = 0.0

    # --- While it runs ---

    def everything(self):
        """What a person would look at. First whether all programs were running at all."""
        states = [program.state for program in (self.gordiand, *self.agents.values())]
        waits = {site: server.run("""
            select a.application_name, a.pid, a.state, a.query, clock_timestamp() - l.waitstart, pg_blocking_pids(a.pid)
            from pg_stat_activity a left join pg_locks l on l.pid = a.pid and not l.granted
            where a.xact_start is not null and a.pid <> pg_backend_pid()""") for site, server in self.servers.items()}
        return (f"gordiand and agents: {states}\nservers: {waits}\ngraph: {self.cli.graph()}\nstatus: {self.cli.status()}\n"
                f"last incidents: {self.cli.deadlocks()['incidents'][:5]}")

    def look(self):
        """Fails if somebody is blocked for too long, or has crashed."""
        for client in (*self.clients, self.canceller):
            if client.crash:
                raise AssertionError(f"{client.name} crashed") from client.crash
        for client in self.clients:
            if (blocked := client.blocked()) is None:
                continue
            self.blocked_longest_s = max(self.blocked_longest_s, blocked[1])
            if blocked[1] > BLOCKED_MAX_S:
                self.fail(f"{client.name} is blocked at {blocked[0]} for {blocked[1]:.1f} s\n{self.everything()}")

    def run_workload(self):
        began = time.monotonic()
        threads = (*self.clients, self.canceller)
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() - began < SECONDS:
                self.look()
                self.stop.wait(0.1)
        finally:
            self.stop.set()

        def rest():
            self.look()
            return not any(thread.is_alive() for thread in threads)

        wait_until(rest, 2 * BLOCKED_MAX_S, self.everything, 0.05)
        self.look()
        return began

    # --- Afterwards ---

    def all_incidents(self):
        """Once nothing is being done about any."""
        def settled():
            found = self.cli.json("deadlocks", "--limit", "5000")["incidents"]
            return [found] if all(incident["outcome"] != "resolving" for incident in found) else None

        return wait_until(settled, 15, self.everything, 0.05)[0]

    def check_throughput(self, began):
        windows = collections.Counter(int((moment - began) / WINDOW_S) for moment in self.story.commits)
        idle = [window * WINDOW_S for window in range(int(SECONDS / WINDOW_S)) if not windows[window]]
        self.assertEqual(idle, [], f"no commit in the {WINDOW_S:.0f} s from these moments on; commits: {dict(windows)}")

    def check_incidents(self, incidents):
        for incident in incidents:
            edges = {(edge["waiter"], edge["blocker"]) for edge in incident["edges"]}
            self.assertIn(incident["outcome"], ("resolved", "dissolved"), incident)
            self.assertTrue(incident["victims"], incident)
            for victim in incident["victims"]:
                self.assertTrue(on_cycle(victim, edges), f"victim {victim} is on no cycle: {incident}")
            left = {edge for edge in edges if not set(edge) & set(incident["victims"])}
            self.assertFalse([txn for txn, _ in left if on_cycle(txn, left)], f"a cycle is left: {incident}")
            self.assertGreater(len({edge["site"] for edge in incident["edges"]}), 1, f"a local deadlock: {incident}")

    def check_logs(self):
        """Each abort that a server has logged was seen by the client whose session it was, and nothing else went wrong."""
        for site, server in self.servers.items():
            logged, strange = collections.Counter(), []
            for pid, text in LOGGED.findall(server.log[self.logged_before[site]:]):
                kind = KINDS_LOGGED.get(text.strip())
                if kind is None:
                    strange.append((pid, text))
                else:
                    logged[int(pid), kind] += 1
            seen = collections.Counter((f.pid, f.kind) for f in self.story.failures if f.site == site)
            self.assertEqual(strange, [], f"errors in the log of {site}")
            self.assertEqual((logged - seen, seen - logged), (collections.Counter(),) * 2,
                             f"at {site}: logged and not seen by a client; seen and not logged")

    def check_rest(self):
        for site, server in self.servers.items():
            for question in ("select application_name from pg_stat_activity where application_name ~ '^(gtx:|workload)'",
                             "select pid from pg_locks where not granted", "select gid from pg_prepared_xacts"):
                wait_until(lambda: not server.run(question), 10, lambda: f"{site} is at rest: {question}: {server.run(question)}")
        self.wait_for_edges(set())
        self.assertFalse(any(txn["condemned"] for txn in self.cli.graph()["txns"]))
        self.assertFalse(self.cli.status()["degraded"])

    def summary(self, incidents, accounts):
        times = [incident["resolve_us"] / 1000 for incident in incidents if incident["resolve_us"] > 0]
        victims = {victim for incident in incidents for victim in incident["victims"]}
        errors = [1000 * f.waited_s for f in self.story.failures if f.txn in victims and f.kind == CANCELLED]
        counters = self.cli.status()["counters"]
        dropped = {name: counters.get(name, 0) for name in ("candidates", "candidates_denied", "candidates_dissolved",
                                                            "confirms_timed_out", "aborts_stale", "aborts_escalated")}
        return (f"{SECONDS:.0f} s, {CLIENTS} clients: {len(self.story.commits)} commits ({len(self.story.two_phase)} in two phases), "
                f"{len(incidents)} deadlocks resolved, median {statistics.median(times or [0]):.1f} ms from found to aborted; "
                f"a victim's statement had run for {statistics.median(errors or [0]):.0f} ms (median); "
                f"longest statement {self.blocked_longest_s:.1f} s; aborts: {dict(accounts.reasons)}; "
                f"{len(self.story.rolled_back_to_savepoint)} went on from a savepoint; {dropped}")

    def test_every_deadlock_is_broken_and_every_abort_accounted_for(self):
        began = self.run_workload()
        incidents = self.all_incidents()
        accounts = Accounts(self.story, incidents)
        print(self.summary(incidents, accounts), file=sys.stderr)
        self.assertEqual(accounts.unaccounted, [], "errors that nobody answers for")
        self.assertGreater(len(incidents), 0)
        self.check_incidents(incidents)
        self.check_logs()
        self.check_throughput(began)
        self.check_rest()


if __name__ == "__main__":
    unittest.main()
