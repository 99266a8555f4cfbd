"""Stress of the lock service, with a history checker: real agents, real clients, killed and stopped at random.

    tests/stress/stress.py [--seconds 300] [--fencing on|off] [--durability none|journal] [--seed N] [--keep FOLDER] [--forget]

Three gordian-agents, a gordiand, and 32 clients that lock a small hot set, read counters of a guarded store, add one and write
them back with their fence. Agents that are killed start again at once with their state; clients that are killed are
replaced. Stops last longer than the lease. Some clients stop themselves between their last check and their write, until
somebody else has written: that is what fences are for.

Exit code 0: no lock was granted twice, no fence went back, no update was lost. With --fencing off the store accepts everything,
and updates must get lost: 0 if they do, and the rest holds. With --forget agents that are killed lose their state: 0 if the checker
sees locks granted twice and fences that went back.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "agents/python"), str(ROOT / "tests/integration")]

from harness import Gordiand, LockAgent, Program, wait_until  # noqa: E402
from harness.program import binary  # noqa: E402

from history import History  # noqa: E402
from store import Store  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SITES = ("berlin", "paris", "rome")
RESOURCES = 12
TTL_S = 1.0
PAUSES_PER_MILLION = (300_000, 1_000)  # of the first client of each kind, and of the others
FAULT_EVERY_S = (0.3, 1.0)


class Stress:
    def __init__(self, options, folder, stack):
        self.options = options
        self.random = random.Random(options.seed)
        self.folder = folder
        self.stack = stack
        self.store = Store(folder / "store", options.fencing == "on")
        stack.callback(self.store.close)
        self.gordiand = stack.enter_context(Gordiand())
        self.agents = {site: self._agent(site) for site in SITES}
        self.workers = [None] * options.clients
        self.started = 0
        self.stopped = {}  # program: when it is to go on
        self.counts = dict.fromkeys(("agents_killed", "agents_stopped", "clients_killed", "clients_stopped"), 0)

    # --- Programs ---

    def _agent(self, site, listen="tcp://127.0.0.1:*"):
        agent = LockAgent(site, self.folder / f"{site}.state", "--durability", self.options.durability, "--publish-after", "20ms",
                          coordinator=self.gordiand.endpoint, listen=listen)
        self.stack.callback(agent.close)
        return agent.start()

    def _worker(self, place):
        """The client of that place, in C++ or Python."""
        self.started += 1
        python = place < self.options.python_clients
        program = ["/usr/bin/python3", "-B", str(HERE / "lock_worker.py")] if python else [self.options.worker]
        agents = ",".join(f"{site}={agent.endpoint}" for site, agent in self.agents.items())
        log = self.folder / f"{place:02}-{self.started:05}.log"
        pauses = PAUSES_PER_MILLION[place not in (0, self.options.python_clients)]
        worker = Program([*program, agents, self.store.path, log, self.random.getrandbits(32), round(TTL_S * 1000), pauses,
                          RESOURCES], {"PYTHONPATH": str(ROOT / "agents/python")})
        worker.log = log
        self.stack.callback(worker.close)
        self.workers[place] = worker.start()

    # --- Faults ---

    def run(self):
        for place in range(len(self.workers)):
            self._worker(place)
        wait_until(lambda: self.store.writes > 0, 30, "somebody has written")
        end = time.monotonic() + self.options.seconds
        next_fault = time.monotonic()
        while time.monotonic() < end:
            if time.monotonic() >= next_fault:
                next_fault += self.random.uniform(*FAULT_EVERY_S)
                self._fault()
            self._let_go_on()
            self._look()
            time.sleep(0.05)
        self._finish()

    def _fault(self):
        fault = self.random.choices((self._kill_agent, self._stop_agent, self._kill_client, self._stop_client),
                                    (10 if self.options.forget else 2, 1, 5, 4))[0]
        fault()

    def _kill_agent(self):
        site = self.random.choice(SITES)
        agent = self.agents[site]
        self.stopped.pop(agent, None)
        agent.kill()
        if self.options.forget:
            pathlib.Path(agent.state_file).unlink()
        self.agents[site] = self._agent(site, agent.endpoint)
        self.counts["agents_killed"] += 1

    def _stop_agent(self):
        self._stop(self.agents[self.random.choice(SITES)], "agents_stopped")

    def _kill_client(self):
        place = self.random.randrange(len(self.workers))
        self.stopped.pop(self.workers[place], None)
        self.workers[place].close()
        self._worker(place)
        self.counts["clients_killed"] += 1

    def _stop_client(self):
        self._stop(self.random.choice(self.workers), "clients_stopped")

    def _stop(self, program, count):
        if program not in self.stopped:
            program.signal(signal.SIGSTOP)
            self.stopped[program] = time.monotonic() + TTL_S * self.random.uniform(1.1, 2)
            self.counts[count] += 1

    def _let_go_on(self):
        for program, when in list(self.stopped.items()):
            if time.monotonic() >= when:
                program.signal(signal.SIGCONT)
                del self.stopped[program]

    def _look(self):
        """Programs that ended by themselves are a failure. Clients that stopped themselves go on once they were overtaken."""
        for program in (*self.agents.values(), *self.workers, self.gordiand):
            if not program.running():
                raise AssertionError(f"{program.arguments} ended with {program.process.returncode}:\n{program.stderr}")
        for worker in self.workers:
            if worker not in self.stopped and worker.state.startswith("T") and self._overtaken(worker):
                worker.signal(signal.SIGCONT)

    def _overtaken(self, worker):
        """It has read a value that is not the newest any more."""
        lines = worker.log.read_text().splitlines()
        what, _, *rest = lines[-1].split(" ")
        return what != "pause" or self.store.value(rest[0]) > int(rest[1])

    def _finish(self):
        """Everyone goes on; those who are paused write; all end."""
        for program in (*self.agents.values(), *self.workers):
            if program in self.stopped:
                program.signal(signal.SIGCONT)
        self.stopped.clear()
        wait_until(lambda: self._look() or not any(worker.state.startswith("T") for worker in self.workers), 30, "nobody is paused", 0.05)
        for worker in self.workers:
            worker.signal(signal.SIGTERM)
        for worker in self.workers:
            self._wait_for_end(worker)
        for agent in self.agents.values():
            agent.stop()
        self.gordiand.stop()

    def _wait_for_end(self, worker):
        """It may stop itself once more, in its last transaction."""
        def ended():
            if worker.running() and worker.state.startswith("T"):  # not otherwise: it would disturb a leak check at its end
                worker.signal(signal.SIGCONT)
            return not worker.running()

        wait_until(ended, 30, f"{worker.arguments} ends", 0.05)
        if worker.process.returncode not in (0, -signal.SIGTERM):  # the signal itself ends one that has only just begun
            raise AssertionError(f"{worker.arguments} ended with {worker.process.returncode}:\n{worker.stderr}")


def report(stress, history, violations):
    """Prints what happened; the exit code."""
    kinds = [kind for kind, _ in violations]
    rows = {
        "grants": history.grants, "writes": stress.store.writes, "writes refused by fence": stress.store.refused,
        "deadlocks broken": history.fails.get("deadlock", 0), "timeouts": history.fails.get("timeout", 0),
        "leases lost": history.lost.get("lease_lost", 0), "unreachable": history.fails.get("unreachable", 0),
        "paused before a write": history.pauses,
        **{name.replace("_", " "): count for name, count in stress.counts.items()},
        "double grants": kinds.count("double grant"), "fences back": kinds.count("fence back"), "lost updates": stress.store.lost_updates,
    }
    for name, number in rows.items():
        print(f"{name:24} {number:>9}")
    for kind, text in violations[:5 if stress.options.forget else 50]:
        print(f"{kind}: {text}", file=sys.stderr)
    fencing = stress.options.fencing == "on"
    if stress.options.forget:
        return 0 if {"double grant", "fence back"} <= set(kinds) else 1
    if violations or (fencing and stress.store.lost_updates):
        return 1
    if not fencing and not stress.store.lost_updates:
        print("without fencing updates must get lost, and none did: this test does not bite", file=sys.stderr)
        return 1
    if not history.grants or not history.fails.get("deadlock"):
        print("nothing was granted, or no deadlock was broken: this run says nothing", file=sys.stderr)
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--fencing", choices=("on", "off"), default="on")
    parser.add_argument("--durability", choices=("none", "journal"), default="none")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--forget", action="store_true", help="sabotage: agents that are killed lose their state")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--python-clients", type=int, default=4, help="so many of the clients are Python programs")
    parser.add_argument("--worker", default=str(pathlib.Path(binary("gordiand")).parents[1] / "tests/lock_worker"), help="the C++ client")
    parser.add_argument("--keep", type=pathlib.Path, help="write logs there and keep them")
    options = parser.parse_args()
    print(f"seed {options.seed}, fencing {options.fencing}, durability {options.durability}, {options.clients} clients, "
          f"{options.seconds:g} s", flush=True)
    folder = options.keep or pathlib.Path(tempfile.mkdtemp(prefix="gordian-stress-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.ExitStack() as stack:
            stress = Stress(options, folder, stack)
            stress.run()
        history = History()
        history.read_folder(folder)
        return report(stress, history, history.check())
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
