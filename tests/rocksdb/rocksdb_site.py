"""A rocksdb_site (site.cpp) as a test drives it."""

import os
import re

from harness import Program, wait_until


class Site(Program):
    """`with Site("a", endpoint) as a: a.run("T1", "put", "k", "v")`."""

    def __init__(self, name, coordinator):
        super().__init__([])
        self._pipe = self.folder / "commands"
        os.mkfifo(self._pipe)
        self.arguments = [os.environ["GORDIAN_ROCKSDB"] + "/rocksdb_site", name, coordinator, str(self.folder / "data"), str(self._pipe)]
        self._commands = None
        self._last = 0

    def start(self):
        super().start()
        # Non-blocking, or it would hang here should the site not come up. It has a reader once the database is open.
        def opened():
            try:
                return os.fdopen(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK), "w", buffering=1)
            except OSError:
                assert self.running(), self.stderr
                return None

        self._commands = wait_until(opened, 20, lambda: f"the site is up: {self.stderr}")
        return self

    def close(self):
        if self._commands:
            self._commands.close()
        super().close()

    def begin(self, txn, start, *more):
        assert self.run(txn, "begin", start, *more) == "ok"

    def send(self, txn, *command):
        """Gives the command, and returns its number."""
        self._last += 1
        self._commands.write(" ".join(map(str, [self._last, txn, *command])) + "\n")
        return self._last

    def answered(self, number):
        """What came of it, or None so far."""
        found = re.search(rf"^{number} (.*)$\n", self.stdout, re.MULTILINE)
        return found and found[1]

    def answer(self, number, timeout=10.0):
        def answered():
            assert self.running(), f"the site has ended:\n{self.stderr}"
            return self.answered(number)

        return wait_until(answered, timeout, lambda: f"command {number} is answered: {self.stdout}{self.stderr}", 0.002)

    def run(self, txn, *command, timeout=10.0):
        return self.answer(self.send(txn, *command), timeout)

    def status(self):
        return {name: int(count) for name, count in (word.split("=") for word in self.run("-", "status").split())}

    def waits(self, count):
        wait_until(lambda: self.status()["waits"] == count, 10, lambda: f"{count} waits: {self.status()}")

    def send_waiting(self, txn, *command):
        """Gives the command, and returns its number once it waits."""
        before = self.status()["waits"]
        number = self.send(txn, *command)
        self.waits(before + 1)
        return number
