"""One program under test: started, watched through what it prints, stopped or killed."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

from .wait import wait_until

# A sanitizer's report fails the test even where nobody looks at the exit code.
_SANITIZER_REPORT = re.compile(r"(WARNING|ERROR): \w+Sanitizer: .*|.*: runtime error: .*")


def binary(name):
    """The path of one of Gordian's programs, in the folder that GORDIAN_BIN names."""
    folder = os.environ.get("GORDIAN_BIN")
    if not folder:
        root = pathlib.Path(__file__).resolve().parents[3]
        folder = root / "build" / "release" / "bin"
    path = pathlib.Path(folder) / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build it, or name the folder of the programs in GORDIAN_BIN")
    return str(path)


def cpu_seconds(pid):
    """Processor time that process `pid` has used so far, user and system."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Program:
    """Runs `arguments` (a list; the first is the program). Its output goes to files, so that it can never block on it.

    It ends with the thread that started it, even if that is killed: start it from the main thread.
    """

    def __init__(self, arguments, environment=None, user=None):
        self.arguments = [str(argument) for argument in arguments]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-"))
        self._stdout = open(self.folder / "stdout", "wb")
        self._stderr = open(self.folder / "stderr", "wb")
        self._environment = {**os.environ, **(environment or {})}
        self._user = user
        self.process = None

    def start(self):
        # The program must not outlive a test that was killed. Changing the user would undo that, so it comes first.
        prefix = []
        if self._user:
            entry = pwd.getpwnam(self._user)
            prefix += ["setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups", "--"]
        prefix += ["setpriv", "--pdeathsig", "KILL", "--"]
        # A group of its own: Ctrl-C is for us, who stop our programs in the right order.
        self.process = subprocess.Popen(prefix + self.arguments, stdin=subprocess.DEVNULL, stdout=self._stdout,
                                        stderr=self._stderr, env=self._environment, process_group=0)
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def stdout(self):
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def stderr(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def state(self):
        """What the kernel says of it: "R (running)", "S (sleeping)", "T (stopped)", …"""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(r"^State:\s*(.*)$", status, re.MULTILINE)[1]

    def wait_for_output(self, pattern, timeout=10.0):
        """The first match of the regular expression in what it printed (stdout, then stderr)."""

        def match():
            found = re.search(pattern, self.stdout + self.stderr)
            if not found and not self.running():
                raise AssertionError(f"{self.arguments[0]} ended with {self.process.returncode}:\n{self.stderr}")
            return found

        return wait_until(match, timeout, lambda: f"{pattern!r} in the output of {self.arguments[0]}:\n{self.stderr}")

    def wait(self, timeout=10.0):
        """Its exit code, once it has ended by itself."""
        return self.process.wait(timeout)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=5.0):
        """SIGTERM, and its exit code. Raises if it does not end in time."""
        if self.running():
            self.signal(signal.SIGTERM)
        began = time.monotonic()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments[0]} did not stop within {timeout} s:\n{self.stderr}") from None
        finally:
            self.stop_seconds = time.monotonic() - began

    def kill(self):
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        """Stops it. Raises if it ended in another way than well, or by the test's kill()."""
        try:
            if self.running():
                self.signal(signal.SIGCONT)  # in case the test had stopped it
                self.stop()
            if self.process.returncode not in (0, -signal.SIGKILL):
                raise AssertionError(f"{self.arguments[0]} ended with {self.process.returncode}:\n{self.stderr}")
        finally:
            self.close()

    def close(self):
        """Ends it, however it is, and throws its output away."""
        self.kill()
        self._stdout.close()
        self._stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)
