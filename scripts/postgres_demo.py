"""Two transactions that cross on two PostgreSQL servers: the story of scripts/demo postgres, and its measurements.

Starts everything it needs through the integration tests' harness and stops it again, on Ctrl-C too.
"""

import argparse
import contextlib
import random
import statistics
import sys
import time

import psycopg2

from demo_stage import ROOT, Failed, play, show_incident

from harness import Gordiand, PostgresAgent, PostgresServer, cpu_seconds, wait_until

HANG_S = 5.0  # how long the first crossing is left alone
LIMIT_S = 30.0  # a deadlock that stands longer is a failure of Gordian
IDLE_S = 10.0  # how long the load on an idle server is measured
FASTEST = ("--publish-after", "0ms", "--poll-interval", "5ms", "--busy-poll-interval", "2ms")
UPDATE = "update account set balance = balance {:+d} where id = 1"
# What a server knows by itself: who waits here, for whom.
WAITS = """
select waiter.application_name, blocker.application_name, extract(epoch from clock_timestamp() - lock.waitstart)
from pg_locks lock join pg_stat_activity waiter using (pid)
cross join unnest(pg_blocking_pids(lock.pid)) as blocking (pid)
join pg_stat_activity blocker on blocker.pid = blocking.pid
where not lock.granted"""


class Transaction:
    """A global transaction: one branch on each server, known to both by its application name."""

    def __init__(self, name, servers):
        self.name = name
        self.branches = {site: server.client(f"gtx:{name}") for site, server in servers.items()}

    def commit(self):
        for branch in self.branches.values():
            branch.commit()

    def give_up(self):
        """Ends both branches, whatever state they are in."""
        for branch in self.branches.values():
            branch.abandon()
            with contextlib.suppress(psycopg2.Error):
                branch.connection.close()


class Crossing:
    """Two transactions that each hold what the other one wants. From the constructor's end on, both hang."""

    def __init__(self, servers, first, second):
        self.one, self.two = Transaction(first, servers), Transaction(second, servers)
        self.one.branches["a"].run(UPDATE.format(-1))
        self.two.branches["b"].run(UPDATE.format(-1))
        self.waits = {self.one: self.one.branches["b"].begin(UPDATE.format(+1))}
        servers["b"].wait_until_waiting(self.one.branches["b"])
        self.closed = time.monotonic()
        self.waits[self.two] = self.two.branches["a"].begin(UPDATE.format(+1))

    def ended(self):
        """The transaction that got an answer first, or None."""
        answered = [txn for txn, wait in self.waits.items() if getattr(wait, "ended", None)]
        return min(answered, key=lambda txn: self.waits[txn].ended, default=None)

    def seconds(self, txn):
        """From the closing of the cycle to the answer."""
        return self.waits[txn].ended - self.closed

    def other(self, txn):
        return self.two if txn is self.one else self.one

    def give_up(self):
        self.one.give_up()
        self.two.give_up()


def resolve(crossing, screen=None):
    """Waits until Gordian has broken the crossing: (victim, winner), the winner not committed yet."""
    if screen:
        victim = screen.run_timer(crossing.closed, LIMIT_S, crossing.ended)
    else:
        with contextlib.suppress(AssertionError):
            wait_until(crossing.ended, LIMIT_S)
        victim = crossing.ended()
    if victim is None:
        raise Failed(f"nobody was aborted within {LIMIT_S:.0f} s")
    winner = crossing.other(victim)
    if crossing.waits[victim].exception() is None:
        raise Failed(f"{victim.name} went on without an error")
    # The victim's client does nothing about its error here: its locks on both servers must be freed all the same.
    wait_until(lambda: getattr(crossing.waits[winner], "ended", None), LIMIT_S, f"{winner.name} goes on")
    return victim, winner


def start_servers(stack):
    servers = {site: stack.enter_context(PostgresServer()) for site in ("a", "b")}
    for server in servers.values():
        server.run("create table account (id int primary key, balance int)", "insert into account values (1, 100)")
    return servers


def start_gordian(stack, servers, *agent_options):
    coordinator = stack.enter_context(Gordiand())
    agents = {site: stack.enter_context(PostgresAgent(site, server, coordinator.endpoint, *agent_options))
              for site, server in servers.items()}
    coordinator.cli.wait_for_sites(*servers, timeout=LIMIT_S)
    return coordinator.cli, agents


def show_hang(screen, servers):
    screen.title("1. Without Gordian")
    crossing = Crossing(servers, "T1", "T2")
    try:
        if screen.run_timer(crossing.closed, HANG_S, crossing.ended):
            raise Failed("the crossing ended by itself")
        screen.say(f"  After {HANG_S:.0f} s both still hang. What the servers see:")
        for site, server in servers.items():
            for waiter, blocker, seconds in server.run(WAITS):
                screen.say(f"    server {site}: {waiter} waits for {blocker}, since {seconds:.1f} s")
        screen.say("  One transaction behind another on each: neither server can see the cycle. We end both by hand.")
    finally:
        crossing.give_up()


def newest_incident(gordian, victim):
    """The id of the newest incident, which must have that victim."""
    def newest():
        incidents = [i for i in gordian.deadlocks()["incidents"] if i["outcome"] != "resolving"]
        return incidents[0] if incidents else None

    incident = wait_until(newest, LIMIT_S, lambda: f"the incident is stored: {gordian.deadlocks()}")
    if incident["victims"] != [victim.name]:
        raise Failed(f"the incident names {incident['victims']} as victims, and it was {victim.name}")
    return incident["id"]


def show_rescue(screen, servers):
    screen.title("2. With gordiand, and a gordian-postgres beside each server")
    with contextlib.ExitStack() as stack:
        gordian, _ = start_gordian(stack, servers)
        crossing = Crossing(servers, "T3", "T4")
        stack.callback(crossing.give_up)
        victim, winner = resolve(crossing, screen)
        error = str(crossing.waits[victim].exception()).splitlines()[0]
        screen.say(f"  {screen.red(f'{1000 * crossing.seconds(victim):.0f} ms')} after the cycle closed, {victim.name} is the"
                   f" victim: {error}")
        winner.commit()
        balances = {site: server.run("select balance from account")[0][0] for site, server in servers.items()}
        if sum(balances.values()) != 200:
            raise Failed(f"half a transaction was committed: {balances}")
        screen.say(f"  {winner.name} went on after {1000 * crossing.seconds(winner):.0f} ms and committed: its money has moved,"
                   f" {balances['a']} at a and {balances['b']} at b")
        incident = newest_incident(gordian, victim)
        screen.title(f"3. The incident: gordian deadlocks --incident {incident}")
        show_incident(screen, gordian, incident, ROOT / "demo")


def tell_story(screen):
    with contextlib.ExitStack() as stack:
        servers = start_servers(stack)
        screen.title("Two PostgreSQL servers, a and b, and two transactions that cross")
        screen.say("  the first takes money from account 1 at a, then puts it into account 1 at b;")
        screen.say("  the second takes from b, then puts into a")
        show_hang(screen, servers)
        show_rescue(screen, servers)


def measure_rounds(servers, rounds):
    """Seconds from the closing of the cycle to the victim's error, sorted."""
    times = []
    for number in range(rounds):
        time.sleep(random.uniform(0, 0.25))  # so that rounds do not fall into step with the agents' polling
        crossing = Crossing(servers, f"R{number}-1", f"R{number}-2")
        try:
            victim, winner = resolve(crossing)
            winner.commit()
            times.append(crossing.seconds(victim))
        finally:
            crossing.give_up()
    return sorted(times)


def measure_idle_load(agent, server):
    """Shares of one core that an agent and its sessions at the server use while nothing happens."""
    sessions = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    pids = [agent.pid] + [pid for (pid,) in server.run(sessions)]
    before = [cpu_seconds(pid) for pid in pids]
    began = time.monotonic()
    time.sleep(IDLE_S)
    seconds = time.monotonic() - began
    used = [cpu_seconds(pid) - was for pid, was in zip(pids, before)]
    return used[0] / seconds, sum(used[1:]) / seconds


def measure(screen, rounds):
    with contextlib.ExitStack() as stack:
        servers = start_servers(stack)
        for name, options in (("default settings", ()), (" ".join(FASTEST), FASTEST)):
            with contextlib.ExitStack() as programs:
                _, agents = start_gordian(programs, servers, *options)
                agent_load, session_load = measure_idle_load(agents["a"], servers["a"])
                times = [1000 * seconds for seconds in measure_rounds(servers, rounds)]
            screen.title(name)
            screen.say(f"  cycle closed → victim's error, {rounds} rounds: median {statistics.median(times):.0f} ms"
                       f" (fastest {times[0]:.0f}, slowest {times[-1]:.0f})")
            screen.say(f"  idle server, {IDLE_S:.0f} s: agent {100 * agent_load:.2f} %, its session at the server"
                       f" {100 * session_load:.2f} %, together {100 * (agent_load + session_load):.2f} % of a core")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo postgres", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, metavar="N", help="measure N rounds instead of telling the story")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds needs at least 1")
    return play(lambda screen: measure(screen, arguments.rounds) if arguments.rounds else tell_story(screen))


if __name__ == "__main__":
    sys.exit(main())
