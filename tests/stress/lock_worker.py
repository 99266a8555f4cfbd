"""One client of the stress test, in Python; lock_worker.cpp is the same on the C++ client.

    lock_worker.py AGENTS STORE LOG SEED TTL_MS PAUSES RESOURCES

AGENTS: site=endpoint,… STORE: the path of its socket. LOG: where it writes its history (history.py). PAUSES: of a million writes
so many stop this process (SIGSTOP) right after it has checked its lease: whoever started it lets it go on. RESOURCES: how many
there are. Ends well on SIGTERM.
"""

import os
import random
import signal
import socket
import sys
import time

import gordian


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Log:
    """Each line is in the kernel's hands before the program goes on."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, what, *words, time=None):
        line = " ".join([what, f"{now() if time is None else time:.6f}", *map(str, words)])
        os.write(self._file, line.encode() + b"\n")


class Worker:
    def __init__(self, agents, store, log, seed, ttl_ms, pauses, resources):
        self.random = random.Random(int(seed))
        self.client = gordian.LockClient(dict(pair.split("=", 1) for pair in agents.split(",")), label=f"worker {os.getpid()}")
        self.log = Log(log)
        self.ttl = int(ttl_ms) / 1000
        self.pauses = int(pauses)
        self.resources = int(resources)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(store)
        self.store = connection.makefile("rw", newline="\n")
        self.count = 0

    def run(self, ended):
        while not ended():
            self.log.write("session")
            with self.client.session(self.ttl) as session:
                while not ended() and session.error is None:
                    self.transaction(session)

    def transaction(self, session):
        self.count += 1
        name = f"py-{os.getpid()}-{self.count}"
        txn = session.transaction(name)
        try:
            self.work(txn, name)
        except gordian.LockError as error:
            if error.code == "lease_lost":
                self.log.write("lost", name, error.code)
        finally:
            self.log.write("end", name)
            txn.end()

    def work(self, txn, name):
        chosen = self.random.sample(range(self.resources), self.random.randint(1, 3))
        for resource in (f"r{number}" for number in chosen):
            mode = self.random.choice("SXX")
            grant = self.lock(txn, name, resource, mode)
            if self.random.random() < 0.1:
                again = self.lock(txn, name, resource, mode)
                self.unlock(txn, name, again, mode)
            if mode == "S" and self.random.random() < 0.3:
                mode, grant = "X", self.lock(txn, name, resource, "X")
            if mode == "X":
                self.add_one(resource, grant)
        if self.random.random() < 0.3:
            self.log.write("keep", f"{now() + txn.session.remaining():.6f}")

    def lock(self, txn, name, resource, mode):
        wait = self.random.choice([None, None, 0.5, 2.0])
        self.log.write("ask", name, resource, mode)
        try:
            grant = txn.lock(resource, mode, wait)
        except gordian.LockError as error:
            self.log.write("fail", name, error.code)
            raise
        stamp = now()
        deadline = stamp + grant.remaining()
        self.log.write("grant", name, resource, mode, *grant.fence, f"{deadline:.6f}", time=stamp)
        return grant

    def unlock(self, txn, name, grant, mode):
        self.log.write("release", name, grant.name, mode)
        txn.unlock(grant)

    def add_one(self, resource, grant):
        answer, *value = self.ask(f"read {resource} {grant.fence.epoch} {grant.fence.counter}")
        if answer == "stale":
            return
        grant.check()
        if self.random.randrange(1_000_000) < self.pauses:
            self.log.write("pause", resource, value[0])
            os.kill(os.getpid(), signal.SIGSTOP)  # just after the check: only the fence can help now
        self.ask(f"write {resource} {value[0]} {grant.fence.epoch} {grant.fence.counter}")

    def ask(self, line):
        self.store.write(line + "\n")
        self.store.flush()
        return self.store.readline().split()


def main():
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    worker = Worker(*sys.argv[1:])
    worker.run(lambda: bool(ended))
    worker.client.close()


if __name__ == "__main__":
    main()
