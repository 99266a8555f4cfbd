"""The victim's client dies at the moment of the abort: a process of its own, killed around the time of detection."""

import random
import statistics
import subprocess
import sys
import time
import unittest

from faults_case import FaultCase
from harness import wait_until
from postgres_case import UPDATE

ROUNDS = 24

# Takes row 1 at b, then row 1 at a, with a connection to each; says what it has reached.
CLIENT = f"""
import psycopg2, sys
name, a, b = sys.argv[1:]
at_a, at_b = (psycopg2.connect(conninfo, application_name="gtx:" + name) for conninfo in (a, b))
at_b.cursor().execute({UPDATE.format(1)!r})
print("holds", flush=True)
sys.stdin.readline()
try:
    at_a.cursor().execute({UPDATE.format(1)!r})
    print("went on", flush=True)
except psycopg2.Error as error:
    print("failed", str(error).splitlines()[0], flush=True)
sys.stdin.readline()
"""


class ClientProcess:
    """The victim to be: younger than who is in its way."""

    def __init__(self, name, servers):
        # With pdeathsig it does not outlive a test that was killed.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c", CLIENT, name,
             servers["a"].conninfo, servers["b"].conninfo],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def holds(self):
        """Returns once it holds its row at b."""
        self.process.stdout.readline()

    def close_cycle(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait()
        said = self.process.stdout.read()
        self.process.stdin.close()
        self.process.stdout.close()
        return said


class KilledClientTest(FaultCase):
    def setUp(self):
        super().setUp()
        self.start_gordian("--abort-grace", "1s")

    def round(self, number, delay):
        """One crossing whose younger member is killed after `delay` seconds (None: when it has its error).

        Returns what it had said, and the seconds until the winner went on.
        """
        winner = self.transaction(f"winner{number}")
        winner["a"].run(UPDATE.format(1))
        victim = ClientProcess(f"victim{number}", self.servers)
        try:
            victim.holds()
            one = winner["b"].begin(UPDATE.format(1))
            self.servers["b"].wait_until_waiting(winner["b"])
            victim.close_cycle()
            closed = time.monotonic()
            if delay is None:
                victim.process.stdout.readline()
            else:
                time.sleep(delay)  # the moment of the crime, no synchronisation
        finally:
            said = victim.kill()
        one.result(15)  # the winner goes on, without an error
        for branch in winner.values():
            branch.commit()
        return said, one.ended - closed

    def test_no_hang_no_wrong_abort_no_order_left_open(self):
        detection = statistics.median(self.round(f"-measured{number}", None)[1] for number in range(3))
        chance = random.Random(20240229)
        for number in range(ROUNDS):
            with self.subTest(round=number):
                self.round(number, chance.uniform(0, 1.5 * detection))
        cancelled = set()

        def settled():
            found = self.cli.json("deadlocks", "--limit", "1000")["incidents"]
            return all(incident["outcome"] != "resolving" for incident in found) and found

        incidents = wait_until(settled, 15, lambda: f"every incident is settled: {self.cli.deadlocks()}", 0.02)
        self.assertLessEqual({incident["outcome"] for incident in incidents}, {"resolved", "dissolved"}, incidents)
        for incident in incidents:
            self.assertTrue(all(victim.startswith("victim") for victim in incident["victims"]), incident)
            cancelled.update(incident["victims"])
        self.assertEqual(len(cancelled), len(incidents))  # nobody twice
        self.assertFalse(any(txn["condemned"] for txn in self.cli.graph()["txns"]))
        for site in "ab":  # a session whose client is dead, and which still waits, ends with its wait at the latest
            wait_until(lambda site=site: not self.open_transactions(site), 10,
                       lambda site=site: f"no transaction is left at {site}: {self.open_transactions(site)}")
            self.assertNotIn("gtx:winner", "\n".join(line for line in self.servers[site].log.splitlines()
                                                     if "ERROR" in line or "FATAL" in line))
        self.wait_for_edges(set())
        print(f"{ROUNDS} clients killed within {1500 * detection:.0f} ms of the cycle's closing: {len(incidents) - 3} deadlocks"
              f" had been confirmed by then, {self.counter('aborts')} aborts done, {self.counter('aborts_stale')} stale,"
              f" {self.counter('candidates')} candidates", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
