"""The programs of Gordian: the coordinator, the agents, and the command line."""

import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile

from .program import Program, binary
from .wait import wait_until


class Gordian:
    """The command line, asking one coordinator."""

    def __init__(self, coordinator):
        self.coordinator = coordinator

    def run(self, *arguments, timeout=10.0):
        """Runs it; the finished process with returncode, stdout and stderr."""
        return subprocess.run([binary("gordian"), "--coordinator", self.coordinator, *arguments], capture_output=True,
                              text=True, timeout=timeout, check=False)

    def json(self, *arguments):
        finished = self.run(*arguments, "--format", "json")
        if finished.returncode != 0:
            raise AssertionError(f"gordian {' '.join(arguments)} ended with {finished.returncode}: {finished.stderr}")
        return json.loads(finished.stdout)

    def status(self):
        return self.json("status")

    def graph(self):
        return self.json("graph")

    def deadlocks(self):
        return self.json("deadlocks")

    def site(self, name):
        """One site of the status, or None."""
        return next((site for site in self.status()["sites"] if site["site"] == name), None)

    def wait_for_sites(self, *names, timeout=10.0):
        """Until all of these sites are complete."""
        wait_until(lambda: all((self.site(name) or {}).get("state") == "complete" for name in names), timeout,
                   lambda: f"sites {names} are complete: {self.status()}", 0.02)


class Listener(Program):
    """A program that listens on a free port (or on `listen`) and writes where into a file: `.endpoint`."""

    def __init__(self, name, *arguments, listen="tcp://127.0.0.1:*", environment=None):
        super().__init__([], environment)
        self._endpoint_file = self.folder / "endpoint"
        self.arguments = [binary(name), "--listen", listen, "--endpoint-file", str(self._endpoint_file),
                          *(str(argument) for argument in arguments)]
        self.endpoint = None

    def start(self):
        super().start()

        def written():
            if not self.running():
                raise AssertionError(f"{self.arguments[0]} ended with {self.process.returncode}:\n{self.stderr}")
            return self._endpoint_file.exists() and self._endpoint_file.read_text().strip()

        self.endpoint = wait_until(written, 10, lambda: f"{self.arguments[0]} listens:\n{self.stderr}")
        return self


class LockAgent(Listener):
    """gordian-agent for `site`. A second one with the same `state` and `listen` is the first one, started again."""

    def __init__(self, site, state, *arguments, coordinator="", listen="tcp://127.0.0.1:*", environment=None):
        super().__init__("gordian-agent", "--site", site, "--state", state, "--coordinator", coordinator, *arguments, listen=listen,
                         environment=environment)
        self.site = site
        self.state_file = str(state)


class Gordiand(Listener):
    """The coordinator. `.cli` asks it."""

    def __init__(self, *arguments, listen="tcp://127.0.0.1:*", history=None, environment=None):
        super().__init__("gordiand", *arguments, listen=listen, environment=environment)
        self.history = history or str(self.folder / "history.db")
        self.arguments[1:1] = ["--history", self.history]  # before what a test says of it

    @property
    def cli(self):
        return Gordian(self.endpoint)

    def wait_until_stored(self, *incidents, sites=()):
        """Until the history holds these settled incidents and sites: it is written a moment after they are shown."""
        def missing():
            with contextlib.closing(sqlite3.connect(f"file:{self.history}?mode=ro", uri=True)) as history:
                known = {row[0] for row in history.execute("SELECT id FROM incidents WHERE outcome != 0")}
                known |= {row[0] for row in history.execute("SELECT site FROM sites")}
            return [name for name in (*incidents, *sites) if name not in known]

        wait_until(lambda: not missing(), 10, lambda: f"the history has {missing()}", 0.02)


class Cluster:
    """`size` coordinators that share the graph, named m0, m1, …: `with Cluster(3) as cluster:`. They listen on ipc endpoints
    in a folder of their own, so that each can be told of the others before any of them runs."""

    def __init__(self, size, *arguments, start=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-cluster-"))
        self.names = [f"m{number}" for number in range(size)]
        self.arguments = arguments
        self.members = {}
        self._start = start

    def endpoint(self, name):
        return f"ipc://{self.folder}/{name}"

    @property
    def coordinator(self):
        """What an agent is told: some of them, as a list."""
        return ",".join(self.endpoint(name) for name in self.names[:2])

    def start(self, name, *more):
        """Starts it, or starts it again, with the history it had."""
        if name in self.members:
            self.members[name].close()
        peers = [argument for other in self.names for argument in ("--peer", f"{other}={self.endpoint(other)}")]
        self.members[name] = Gordiand("--member", name, *peers, *self.arguments, *more, listen=self.endpoint(name),
                                      history=str(self.folder / f"{name}.db"))
        return self.members[name].start()

    def status(self, name):
        return self.members[name].cli.status()

    def wait_until_alive(self, timeout=15.0):
        """Until each of them hears all others."""
        wait_until(lambda: all(member["alive"] for name in self.names for member in self.status(name)["members"]), timeout,
                   lambda: {name: self.status(name)["members"] for name in self.names}, 0.02)

    def wait_for_sites(self, *sites, timeout=15.0):
        for name in self.names:
            self.members[name].cli.wait_for_sites(*sites, timeout=timeout)

    def incidents(self):
        """Of all members: {member: [incident, …]}"""
        return {name: self.members[name].cli.deadlocks()["incidents"] for name in self.names}

    def __enter__(self):
        for name in self.names if self._start else []:
            self.start(name)
        return self

    def __exit__(self, *_):
        try:
            with contextlib.ExitStack() as stack:  # so that all are stopped, even if one ends badly
                for member in self.members.values():
                    stack.push(member.__exit__)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class PostgresAgent(Program):
    """gordian-postgres beside `server`, speaking for `site`."""

    def __init__(self, site, server, coordinator, *arguments, conninfo=None, environment=None):
        super().__init__([binary("gordian-postgres"), "--coordinator", coordinator, "--site", site, "--connect",
                          conninfo or server.conninfo, *arguments], environment)

    def wait_until_connected(self, timeout=10.0):
        self.wait_for_output("connected to PostgreSQL", timeout)
