"""A bare peer of the coordinator: sends exactly the frames that a test gives it, and answers nothing by itself."""

import time

import gordian_agent as ga
from gordian_agent import decode, dealer, encode


class Peer:
    """`with Peer(endpoint, "site") as peer: peer.join(); peer.send(ga.DELTA, peer.incarnation, 2, [...])`."""

    def __init__(self, endpoint, site, incarnation=5, instance="peer"):
        self.site, self.incarnation, self.instance = site, incarnation, instance
        self._socket = dealer(endpoint)
        self._socket.setsockopt(ga.zmq.SNDTIMEO, 5000)
        self._monitor = self._socket.get_monitor_socket(ga.zmq.EVENT_DISCONNECTED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def send_raw(self, *frames):
        self._socket.send_multipart(frames)

    def send(self, *message):
        self.send_raw(encode(*message))

    def expect(self, kind, timeout=5.0):
        """The fields of the next message of that type; others before it are passed over."""
        seen = []
        deadline = time.monotonic() + timeout
        while self._socket.poll(max(0, deadline - time.monotonic()) * 1000):
            found, fields = decode(self._socket.recv())
            if found == kind:
                return fields
            seen.append((found, fields))
        raise AssertionError(f"no message of type {kind} within {timeout} s, but {seen}")

    def expect_error(self, code):
        """The text and number of the next Error, which must be of that code."""
        found, text, number, *_ = self.expect(ga.ERROR)
        if found != code:
            raise AssertionError(f"Error {found} ({text}) instead of {code}")
        return text, number

    def expect_disconnect(self, timeout=5.0):
        if not self._monitor.poll(timeout * 1000):
            raise AssertionError(f"the connection was not closed within {timeout} s")

    def hello(self, epoch_seen=0):
        self.send(ga.HELLO, self.site, self.incarnation, self.instance, epoch_seen, True, "python", "tests", "peer.py")

    def join(self, *changes):
        """Hello, Welcome, Snapshot 1 with these changes; the fields of Welcome."""
        self.hello()
        welcome = self.expect(ga.WELCOME)
        self.send(ga.SNAPSHOT, self.incarnation, 1, 0, True, list(changes))
        return welcome

    def heartbeat(self, number):
        """What the coordinator has applied. All that was sent before is handled by then."""
        self.send(ga.HEARTBEAT, self.incarnation, number)
        return self.expect(ga.HEARTBEAT_ACK)[1]


def wait_of(sequence, waiter, *blockers):
    return [ga.WAIT, sequence, waiter, list(blockers), "row", "X", "", 0, [], []]
