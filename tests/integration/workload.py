"""Clients that cross on purpose: random transactions over few rows of several servers, each retrying by itself.

Everything that happens to them is written down in a Story; who judges it is test_mixed_workload.py.
"""

import contextlib
import dataclasses
import random
import threading
import time

import psycopg2

ROWS = 8
STATEMENTS = (("update account set balance = balance + 1 where id = {}", 5),
              ("select balance from account where id = {} for update", 3),
              ("select balance from account where id = {} for share", 2))
CANCELLED, TERMINATED, LOCAL_DEADLOCK = "cancelled", "terminated", "local deadlock"
_KINDS = {"57014": CANCELLED, "57P01": TERMINATED, "40P01": LOCAL_DEADLOCK}


@dataclasses.dataclass(frozen=True)
class Failure:
    """A statement that ended with an error, or a session that was ended."""

    site: str
    pid: int
    txn: str
    kind: str  # CANCELLED …, or the whole error
    waited_s: float
    at: float  # time.monotonic()


@dataclasses.dataclass(frozen=True)
class Cancel:
    """A user's own cancel of whatever that session was doing."""

    site: str
    pid: int
    at: float


class Story:
    """What happened; written by many threads, which list.append allows."""

    def __init__(self):
        self.commits = []  # moments
        self.failures = []
        self.cancels = []
        self.rolled_back_to_savepoint = []  # transactions that went on after an error
        self.two_phase = []  # transactions


class Ended(Exception):
    """The transaction cannot go on; its Failure is in the story."""


class Branch:
    """One client's session at one server, and whatever transaction it is in."""

    def __init__(self, site, server, story):
        self.site, self._server, self._story = site, server, story
        self._connect()
        self.busy_since = None

    def _connect(self):
        self._connection = self._server.connect(application_name="workload")
        self._connection.autocommit = True  # BEGIN and COMMIT are said in words
        self.pid = self._connection.get_backend_pid()
        self._txn = None

    def run(self, sql, txn=None):
        """Runs it; an error is written down and ends the transaction."""
        self.busy_since = time.monotonic()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
        except psycopg2.Error as error:
            ended = bool(self._connection.closed)
            kind = TERMINATED if ended else _KINDS.get(error.pgcode, f"{error.pgcode} {error} in {sql}")
            now = time.monotonic()
            self._story.failures.append(Failure(self.site, self.pid, txn or self._txn, kind, now - self.busy_since, now))
            if ended:
                self._connect()
            raise Ended from error
        finally:
            self.busy_since = None

    def begin(self, txn):
        if self._txn != txn:
            self._txn = txn  # even if the second half should fail
            self.run(f"begin; set local application_name = 'gtx:{txn}'")

    def is_in(self, txn):
        """False after the session was ended."""
        return self._txn == txn

    def end(self, sql):
        self.run(sql)
        self._txn = None

    def give_up(self):
        while self._txn is not None:  # a user's cancel may hit this, too
            with contextlib.suppress(Ended):
                self.end("rollback")

    def finish_prepared(self, word, txn):
        """COMMIT PREPARED or ROLLBACK PREPARED; what was decided must be done, whatever is cancelled."""
        while True:
            with contextlib.suppress(Ended):
                return self.run(f"{word} prepared 'gtx:{txn}/{self.site}'", txn)

    def close(self):
        """Looks first whether the session was ended meanwhile."""
        with contextlib.suppress(Ended):
            self.run("select 1", "no transaction")
        self._connection.close()


class WorkloadClient(threading.Thread):
    def __init__(self, number, servers, story, stop):
        super().__init__(name=f"client {number}", daemon=True)
        self._number, self._story, self._stop_asked = number, story, stop
        self._chance = random.Random(number)
        self.branches = {site: Branch(site, server, story) for site, server in servers.items()}
        self.crash = None  # the exception it ended with

    def run(self):
        try:
            attempt = 0
            while not self._stop_asked.is_set():
                attempt += 1
                self._transaction(f"c{self._number}-{attempt}")
            for branch in self.branches.values():
                branch.close()
        except BaseException as error:
            self.crash = error

    def blocked(self):
        """(site, seconds) of the statement that runs, or None."""
        running = [(branch.site, time.monotonic() - since) for branch in self.branches.values()
                   if (since := branch.busy_since) is not None]
        return max(running, key=lambda entry: entry[1], default=None)

    def _transaction(self, txn):
        used = set()
        try:
            for _ in range(self._chance.randint(2, 4)):
                site = self._chance.choice(sorted(self.branches))
                used.add(site)
                self._step(self.branches[site], txn)
                if self._chance.random() < 0.3:
                    time.sleep(self._chance.uniform(0, 0.005))  # a client that thinks
            self._commit(txn, [self.branches[site] for site in sorted(used)])
            self._story.commits.append(time.monotonic())
        except Ended:
            for branch in self.branches.values():
                branch.give_up()
            time.sleep(self._chance.uniform(0, 0.02))  # then another try, under another name

    def _step(self, branch, txn):
        sql = self._chance.choices([s for s, _ in STATEMENTS], [w for _, w in STATEMENTS])[0]
        savepoint = self._chance.random() < 0.15
        branch.begin(txn)
        if savepoint:
            branch.run("savepoint before")
        try:
            branch.run(sql.format(self._chance.randint(1, ROWS)))
        except Ended:
            if not savepoint or not branch.is_in(txn) or self._chance.random() < 0.5:
                raise
            branch.run("rollback to savepoint before")
            self._story.rolled_back_to_savepoint.append(txn)

    def _commit(self, txn, branches):
        if self._chance.random() >= 0.3:
            for branch in branches:
                branch.end("commit")
            return
        prepared = []
        try:
            for branch in branches:
                branch.end(f"prepare transaction 'gtx:{txn}/{branch.site}'")
                prepared.append(branch)
        except Ended:
            for branch in prepared:
                branch.finish_prepared("rollback", txn)
            raise
        for branch in prepared:
            branch.finish_prepared("commit", txn)
        self._story.two_phase.append(txn)


class Canceller(threading.Thread):
    """A user who now and then cancels what a session is doing."""

    def __init__(self, servers, clients, story, stop, pause_s=0.7):
        super().__init__(name="canceller", daemon=True)
        self._connections = {site: server.connect(application_name="canceller") for site, server in servers.items()}
        self._clients, self._story, self._stop_asked, self._pause_s = clients, story, stop, pause_s
        self._chance = random.Random(0)
        self.crash = None

    def run(self):
        try:
            while not self._stop_asked.wait(self._pause_s):
                branch = self._chance.choice(list(self._chance.choice(self._clients).branches.values()))
                pid, now = branch.pid, time.monotonic()
                with self._connections[branch.site].cursor() as cursor:
                    cursor.execute("select pg_cancel_backend(%s)", (pid,))
                self._connections[branch.site].commit()
                self._story.cancels.append(Cancel(branch.site, pid, now))
            for connection in self._connections.values():
                connection.close()
        except BaseException as error:
            self.crash = error
