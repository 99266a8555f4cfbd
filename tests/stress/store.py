"""The guarded store: counters that clients read, add to, and write back, with the fence of their lock.

One line each way over a Unix socket, fields separated by spaces:

    read NAME EPOCH COUNTER            ok VALUE | stale
    write NAME VALUE EPOCH COUNTER     ok | stale          VALUE is what was read; the counter becomes VALUE + 1

With fencing, it refuses whoever comes with less than the largest fence it has seen, at reads too: a stale writer must not get
in between another one's read and write. Without, it accepts everything. A write whose VALUE is no longer the counter's value
has overtaken another one: a lost update.
"""

import pathlib
import socketserver
import threading

import gordian


class Store:
    """Runs in a thread of its own, with one more for each connection."""

    def __init__(self, path, fencing):
        self.path = str(path)
        self.fencing = fencing
        self.reads = self.writes = self.refused = self.lost_updates = 0
        self._values = {}
        self._guard = gordian.FenceGuard()
        self._lock = threading.Lock()
        store = self

        class Connection(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(store.answer(line.decode().split()).encode() + b"\n")

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                """A client was killed in the middle of a line."""

        self._server = Server(self.path, Connection)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def value(self, name):
        with self._lock:
            return self._values.get(name, 0)

    def answer(self, words):
        what, name, *rest = words
        with self._lock:
            try:
                if what == "read":
                    epoch, counter = map(int, rest)
                    return self._admit(name, epoch, counter, lambda: self._read(name))
                value, epoch, counter = map(int, rest)
                return self._admit(name, epoch, counter, lambda: self._write(name, value))
            except gordian.StaleFence:
                self.refused += 1
                return "stale"

    def _admit(self, name, epoch, counter, do):
        return self._guard.admit(name, gordian.Fence(epoch, counter), do) if self.fencing else do()

    def _read(self, name):
        self.reads += 1
        return f"ok {self._values.get(name, 0)}"

    def _write(self, name, value):
        self.writes += 1
        if value != self._values.get(name, 0):
            self.lost_updates += 1
        self._values[name] = value + 1
        return "ok"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        pathlib.Path(self.path).unlink(missing_ok=True)
