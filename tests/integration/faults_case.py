"""What the tests of faults share: programs that are killed, stopped and started again, each test with its own.

The PostgreSQL servers live as long as the class; coordinator and agents as long as the test.
"""

import pathlib
import shutil
import signal
import tempfile

from harness import Gordiand, PostgresAgent, wait_until
from postgres_case import UPDATE, PostgresCase, error_of

# Leases short enough to watch them end, long enough for a machine that is busy.
SHORT_LEASE = ["--heartbeat", "250ms", "--lease", "1500ms"]


class FaultCase(PostgresCase):
    @classmethod
    def setUpClass(cls):
        cls.start_servers()

    def setUp(self):
        self.known = set()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-faults-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.gordiand = None
        self.agents = {}

    # --- Programs ---

    def start_gordiand(self, *options, **more):
        """A coordinator; the second one of a test takes over endpoint and history of the first."""
        listen = self.gordiand.endpoint if self.gordiand else "tcp://127.0.0.1:*"
        self.gordiand = self.enterContext(
            Gordiand(*options, listen=listen, history=str(self.folder / "history.db"), **more))
        self.cli = self.gordiand.cli
        return self.gordiand

    def start_agent(self, site, *options, **more):
        self.agents[site] = self.enterContext(
            PostgresAgent(site, self.servers[site], self.gordiand.endpoint, *self.agent_options, *options, **more))
        return self.agents[site]

    def start_gordian(self, *gordiand_options):
        """A coordinator and an agent for each server, all of them ready."""
        self.start_gordiand(*gordiand_options)
        for site in self.servers:
            self.start_agent(site)
        self.wait_until_ready(*self.servers)

    def wait_until_ready(self, *sites):
        self.cli.wait_for_sites(*sites)
        for site in sites:
            self.agents[site].wait_until_connected()

    def suspend(self, site):
        """Stops the agent of that site with SIGSTOP."""
        self.agents[site].signal(signal.SIGSTOP)

    def resume(self, site):
        self.agents[site].signal(signal.SIGCONT)

    # --- What is seen ---

    def counter(self, name):
        return self.cli.status()["counters"].get(name, 0)

    def wait_for_counter(self, name, above=0, timeout=10.0):
        wait_until(lambda: self.counter(name) > above, timeout,
                   lambda: f"{name} above {above}: {self.cli.status()['counters']}", 0.02)

    def wait_for_state(self, site, state, timeout=10.0):
        wait_until(lambda: (self.cli.site(site) or {}).get("state") == state, timeout,
                   lambda: f"site {site} is {state}: {self.cli.status()}", 0.02)

    # --- Deadlocks, step by step ---

    def open_crossing(self, first, second):
        """`second` is the younger, and waits for nobody yet; `first` waits for it at b. Returns that statement."""
        first["a"].run(UPDATE.format(1))
        second["b"].run(UPDATE.format(1))
        statement = first["b"].begin(UPDATE.format(1))
        self.servers["b"].wait_until_waiting(first["b"])
        return statement

    def close_crossing_at_a(self, second):
        statement = second["a"].begin(UPDATE.format(1))
        wait_until(lambda: statement.done() or self.servers["a"].waiting(second["a"].pid), 10, "it waits, or is over already")
        return statement

    def half_crossing(self):
        """Two transactions, and the first's statement that waits for the second at b; the coordinator knows of it."""
        first, second = self.transaction("first"), self.transaction("second")
        one = self.open_crossing(first, second)
        self.wait_for_edges({("first", "second", "hard")})
        return first, second, one

    def assert_resolved(self, first, second, one, two, timeout=15.0):
        """`second` was aborted, `first` goes on and commits; one incident says so. Returns it."""
        self.assertIn("canceling statement", error_of(two, timeout))
        for branch in second.values():
            branch.rollback()
        one.result(timeout)
        for branch in first.values():
            branch.commit()
        incident = self.settled_incident()
        self.assertEqual(incident["outcome"], "resolved")
        self.assertEqual(len(incident["victims"]), 1, incident)
        return incident

    def resolve_a_crossing(self, name):
        """The whole story, to see that everything works (again). Returns the incident."""
        self.known = {incident["id"] for incident in self.cli.deadlocks()["incidents"]}
        first, second = self.transaction(f"{name}-1"), self.transaction(f"{name}-2")
        one = self.open_crossing(first, second)
        incident = self.assert_resolved(first, second, one, self.close_crossing_at_a(second))
        self.assertEqual(incident["victims"], [f"{name}-2"])
        return incident

    def assert_nobody_aborted(self, *statements):
        for statement in statements:
            self.assertFalse(statement.done(), statement)
        self.assertEqual(self.incidents(), [])
