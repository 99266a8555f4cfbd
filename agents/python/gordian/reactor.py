"""The client's threads: one owns the sockets, for they belong to one thread; one runs callbacks, for they may take long."""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable
from typing import Any

import zmq

from . import clock, errors
from .link import Link

log = logging.getLogger("gordian")

QUEUE_MESSAGES = 10_000  # ZeroMQ's, in each direction
RECEIVE_BYTES_MAX = 16 << 20
RECEIVE_AT_ONCE = 1_000
LINGER_MS = 200
LOOK_AGAIN_S = 1.0  # poll's clock may stand still while the machine sleeps


class Reactor:
    """Moves messages between links and sockets, and runs timers."""

    def __init__(self, links: list[Link], timers: clock.Timers, guard: threading.RLock,
                 failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._timers = timers
        self._guard = guard
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._context = zmq.Context()
        self._sockets: dict[zmq.Socket[bytes], Link] = {}
        try:
            for link in links:
                self._connect(link)  # here, so that a bad endpoint is the caller's error
        except zmq.ZMQError as error:
            self._close_sockets()
            raise errors.Invalid(f"{link.endpoint!r}: {error}") from error
        self._thread = threading.Thread(target=self._run, name="gordian-client", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """From any thread: there may be something to send."""
        if threading.current_thread() is not self._thread and not self._stopping:
            os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        self.wake()
        self._stopping = True
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join()
        os.close(self._wake_fd)

    def _connect(self, link: Link) -> None:
        socket = self._context.socket(zmq.DEALER)
        self._sockets[socket] = link
        options: dict[int, int | bytes] = {
            zmq.ROUTING_ID: b"python-" + uuid.uuid4().bytes, zmq.IMMEDIATE: 1, zmq.LINGER: LINGER_MS, zmq.SNDHWM: QUEUE_MESSAGES,
            zmq.RCVHWM: QUEUE_MESSAGES, zmq.MAXMSGSIZE: RECEIVE_BYTES_MAX, zmq.RECONNECT_IVL: 50, zmq.RECONNECT_IVL_MAX: 1000,
            zmq.HEARTBEAT_IVL: 2000, zmq.HEARTBEAT_TIMEOUT: 10_000}
        for option, value in options.items():
            socket.setsockopt(option, value)
        socket.connect(link.endpoint)

    def _close_sockets(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._context.term()

    def _run(self) -> None:
        try:
            self._turn()
        except Exception as error:  # a mistake of ours: nobody may be left waiting, or believe that leases are renewed
            log.exception("the client's thread failed")
            self._failed(error)
        finally:
            self._close_sockets()

    def _turn(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wake_fd, zmq.POLLIN)
        while not self._stopping:
            for socket, free in self._send().items():
                poller.register(socket, zmq.POLLIN if free else zmq.POLLIN | zmq.POLLOUT)
            ready = dict(poller.poll(self._wait_ms()))
            if self._wake_fd in ready:
                os.eventfd_read(self._wake_fd)
            for socket, link in self._sockets.items():
                if ready.get(socket, 0) & zmq.POLLIN:
                    self._receive(socket, link)
        self._send()  # what close() had to say

    def _send(self) -> dict[zmq.Socket[bytes], bool]:
        """Timers, and what is to be sent. Which sockets took everything."""
        with self._guard:
            self._timers.run(clock.now())
            return {socket: link.flush(functools.partial(_try_to_send, socket)) for socket, link in self._sockets.items()}

    def _wait_ms(self) -> int | None:
        with self._guard:
            when = self._timers.next()
        if when is None:
            return None
        return max(0, int(min(when - clock.now(), LOOK_AGAIN_S) * 1000) + 1)

    def _receive(self, socket: zmq.Socket[bytes], link: Link) -> None:
        frames: list[bytes] = []
        try:
            while len(frames) < RECEIVE_AT_ONCE:
                frames.append(socket.recv_multipart(zmq.NOBLOCK)[-1])
        except zmq.Again:
            pass
        with self._guard:
            now = clock.now()
            self._timers.run(now)  # a lease that ran out stays so, whatever has arrived
            for frame in frames:
                link.receive(frame, now)


def _try_to_send(socket: zmq.Socket[bytes], frame: bytes) -> bool:
    try:
        socket.send(frame, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


class Callbacks:
    """Runs callbacks in order, on a thread that begins with the first one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[Any], None], Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Under the client's lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gordian-callbacks", daemon=True)
            self._thread.start()
        self._queue.put((callback, argument))

    def stop(self) -> None:
        """When those told are done."""
        if self._thread is not None:
            self._queue.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join()

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            callback, argument = told
            try:
                callback(argument)
            except Exception:  # the program's, not ours: the leases must go on
                log.exception("a callback failed")
