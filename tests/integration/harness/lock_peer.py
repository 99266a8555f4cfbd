"""A bare client of gordian-agent: sends exactly the messages that a test gives it, and answers nothing by itself."""

import json
import time
import uuid

import msgpack
import zmq

OPEN_SESSION, RENEW, CLOSE_SESSION, REQUESTS, QUERY = 64, 65, 66, 67, 32
SESSION_OPENED, RENEWED, SESSION_ENDED, REPLIES, TXN_ABORTED, ANSWER, ERROR = 80, 81, 82, 83, 84, 33, 22
LOCK, UNLOCK, DOWNGRADE, END, CANCEL, BEGIN, RECLAIM = range(7)
DONE, WAITING, DEADLOCK, TIMEOUT, CANCELLED, LEASE_LOST, REFUSED, WOUNDED, OUT_OF_ORDER, LIMIT, NOT_HELD, INVALID, FORCED = range(13)
CLOSED, EXPIRED, UNKNOWN, SESSION_REFUSED = range(4)


class LockPeer:
    """`with LockPeer(endpoint) as peer: peer.open(7); peer.lock(7, 1, "t", "a")`. Names and ids are bytes in what comes back."""

    def __init__(self, endpoint):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.ROUTING_ID, b"peer-" + uuid.uuid4().bytes)
        self._socket.setsockopt(zmq.SNDTIMEO, 5000)
        self._socket.connect(endpoint)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()
        self._context.term()

    def send_raw(self, frame):
        self._socket.send(frame)

    def send(self, *message):
        self.send_raw(msgpack.packb([1, *message], use_bin_type=True))

    def expect(self, kind, timeout=10.0, where=lambda fields: True):
        """The fields of the next message of that type for which `where` holds; others before it are passed over."""
        return self.expect_any({kind}, timeout, where)[1]

    def expect_any(self, kinds, timeout=10.0, where=lambda fields: True):
        """The type and the fields of the next message of one of those types."""
        seen = []
        deadline = time.monotonic() + timeout
        while self._socket.poll(max(0, deadline - time.monotonic()) * 1000):
            version, found, *fields = msgpack.unpackb(self._socket.recv(), raw=True)
            if version == 1 and found in kinds and where(fields):
                return found, fields
            seen.append((found, fields))
        raise AssertionError(f"no message of type {kinds} within {timeout:.1f} s, but {seen}")

    # --- Sessions ---

    def open(self, session, ttl_ms=10_000, lock_delay_ms=0):
        """(incarnation, ttl_ms, grace_ms)"""
        self.send(OPEN_SESSION, session, ttl_ms, lock_delay_ms, "peer")
        return tuple(self.expect(SESSION_OPENED, where=lambda fields: fields[0] == session)[1:])

    def renew(self, *sessions, stamp=1):
        """Those of them that are over."""
        self.send(RENEW, stamp, list(sessions))
        return self.expect(RENEWED, where=lambda fields: fields[0] == stamp)[2]

    def ended(self, session, timeout=10.0):
        """Why it is over."""
        return self.expect(SESSION_ENDED, timeout, lambda fields: fields[0] == session)[1]

    # --- Requests ---

    def request(self, code, session, number, *fields, done_below=1):
        self.send(REQUESTS, [[code, session, number, done_below, *fields]])

    def reply(self, session, number, timeout=10.0):
        """(status, grants, text, incident) of the next reply to that request."""
        deadline = time.monotonic() + timeout
        while True:
            [replies] = self.expect(REPLIES, deadline - time.monotonic())
            for found, request, *rest in replies:
                if (found, request) == (session, number):
                    return tuple(rest)

    def ask(self, code, session, number, *fields, done_below=1):
        """Request and reply."""
        self.request(code, session, number, *fields, done_below=done_below)
        return self.reply(session, number)

    def lock(self, session, number, txn, name, mode="X", wait_us=None, done_below=1):
        """One lock: (status, fence or None, text)."""
        status, grants, text, _ = self.ask(LOCK, session, number, txn, None, wait_us, 0, 0, [[name, mode]], done_below=done_below)
        return status, tuple(grants[0][1:]) if grants else None, text

    def unlock(self, session, number, txn, name, fence=(0, 0), path=False):
        """The status."""
        return self.ask(UNLOCK, session, number, txn, name, *fence, path)[0]

    # --- Questions ---

    def query(self, what, argument=""):
        """The answer, as Python has it. Raises AssertionError with the agent's sentence."""
        question = uuid.uuid4().int & 0xFFFFFFFF
        self.send(QUERY, question, what, json.dumps(argument) if argument else "")
        _, fine, body = self.expect(ANSWER, where=lambda fields: fields[0] == question)
        if not fine:
            raise AssertionError(body.decode())
        return json.loads(body)

    def resource(self, name):
        """Holders and waiters of one resource, or None."""
        return next((one for one in self.query("locks")["resources"] if one["name"] == name), None)

    def waiters(self, name):
        return [waiter["txn"] for waiter in (self.resource(name) or {"waiters": []})["waiters"]]

    def holders(self, name):
        """{transaction: mode}"""
        return {holder["txn"]: holder["mode"] for holder in (self.resource(name) or {"holders": []})["holders"]}
