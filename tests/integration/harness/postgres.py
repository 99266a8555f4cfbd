"""A PostgreSQL server of one's own, made in a moment from a template and thrown away afterwards."""

import atexit
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import psycopg2

from .client import Client
from .program import Program
from .wait import wait_until

_SETTINGS = """
listen_addresses = '127.0.0.1'
max_prepared_transactions = 10
max_connections = 100
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 16MB
log_line_prefix = '%m [%p] %a '
log_lock_waits = on
"""

_template = None


def _binaries():
    """The folder of initdb and postgres, of the newest version installed (or GORDIAN_POSTGRES_BIN)."""
    named = os.environ.get("GORDIAN_POSTGRES_BIN")
    found = [pathlib.Path(named)] if named else sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = [path for path in found if (path / "postgres").exists()]
    if not found:
        raise FileNotFoundError("no PostgreSQL server is installed: apt-get install postgresql")
    return found[-1]


def _server_user():
    """PostgreSQL refuses to run as root: then another user's name, else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
            return name
        except KeyError:
            continue
    raise RuntimeError("no user 'postgres' or 'nobody' to run PostgreSQL as")


def _own(folder):
    user = _server_user()
    if user:
        entry = pwd.getpwnam(user)
        subprocess.run(["chown", "-R", f"{entry.pw_uid}:{entry.pw_gid}", str(folder)], check=True)


def _template_folder():
    """A fresh cluster, made once per process."""
    global _template
    if _template is None:
        _template = pathlib.Path(tempfile.mkdtemp(prefix="gordian-pg-template-"))
        atexit.register(shutil.rmtree, _template, ignore_errors=True)
        _own(_template)
        initdb = Program([_binaries() / "initdb", "-D", _template / "data", "-U", "postgres", "-A", "trust", "--no-sync",
                          "-E", "UTF8", "--locale=C", "--wal-segsize=1"], user=_server_user())
        with initdb:
            if initdb.wait(60) != 0:
                raise RuntimeError("initdb failed: " + initdb.stderr)
        with open(_template / "data" / "postgresql.conf", "a") as settings:
            settings.write(_SETTINGS)
    return _template / "data"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PostgresServer:
    """`with PostgresServer() as server: server.client("gtx:1")`. Superuser `postgres`, no password, database `postgres`.

    `access`: lines for pg_hba.conf that go before "trust everybody"; `settings`: lines for postgresql.conf.
    """

    def __init__(self, access=(), settings=()):
        self._access = list(access)
        self._settings = list(settings)
        self._clients = []
        self._program = None
        self._log_before = ""
        self.folder = None
        self.port = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-pg-"))
        self.folder.chmod(0o755)
        subprocess.run(["cp", "-r", str(_template_folder()), str(self.folder / "data")], check=True)
        hba = self.folder / "data" / "pg_hba.conf"
        hba.write_text("\n".join(self._access) + "\n" + hba.read_text())
        with open(self.folder / "data" / "postgresql.conf", "a") as settings:
            settings.write("\n".join(self._settings) + "\n")
        _own(self.folder)
        (self.folder / "data").chmod(0o700)
        self.start()
        return self

    def __exit__(self, *_):
        if self._program:
            self.resume()
        for client in self._clients:
            client.abandon()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts it (again, on its old port) and waits until it answers."""
        for _ in range(5):
            port = self.port or _free_port()
            self._program = Program([_binaries() / "postgres", "-D", self.folder / "data", "-p", port, "-k", self.folder],
                                    user=_server_user()).start()
            if wait_until(lambda: self._answers(port), 30, lambda: f"PostgreSQL answers:\n{self.log}") == "yes":
                self.port = port
                return
            self._program.close()  # the port was taken by somebody else in the meantime
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")

    def _answers(self, port):
        if not self._program.running():
            return "ended"
        try:
            # By the socket in our own folder: that is this server, whoever has the port.
            psycopg2.connect(host=str(self.folder), port=port, dbname="postgres", user="postgres").close()
            return "yes"
        except psycopg2.OperationalError:
            return None

    def stop(self):
        """At once, as after a power failure. start() brings it back."""
        if self._program is None:
            return
        if self._program.running():
            self._program.signal(signal.SIGQUIT)
            self._program.wait(10)
        self._log_before = self._program.stderr
        self._program.close()
        self._program = None

    def suspend(self):
        """Stops every process of the server with SIGSTOP: it accepts connections no more and answers nothing."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # a child that the server, awake again, has ended meanwhile
                os.kill(pid, signal.SIGCONT)

    def processes(self):
        """The server's process and its children."""
        children = pathlib.Path(f"/proc/{self._program.pid}/task/{self._program.pid}/children").read_text().split()
        return [self._program.pid] + [int(pid) for pid in children]

    @property
    def log(self):
        """What the server has logged since its last start (or before it was stopped)."""
        return self._program.stderr if self._program else self._log_before

    @property
    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} dbname=postgres user=postgres"

    def connect(self, **more):
        """A plain psycopg2 connection."""
        return psycopg2.connect(host="127.0.0.1", port=self.port, **{"dbname": "postgres", "user": "postgres", **more})

    def client(self, application_name="", **more):
        """A client whose statements may block, see Client. Its first statement begins a transaction."""
        client = Client(self.connect(application_name=application_name, **more))
        self._clients.append(client)
        return client

    def run(self, *statements):
        """Runs statements, each in its own transaction; the rows of the last one."""
        connection = self.connect(application_name="harness")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def waiting(self, pid):
        """Is that session waiting for a lock?"""
        return bool(self.run(f"select 1 from pg_locks where not granted and pid = {int(pid)}"))

    def wait_until_waiting(self, client, timeout=10.0):
        wait_until(lambda: self.waiting(client.pid), timeout, f"session {client.pid} waits for a lock")
