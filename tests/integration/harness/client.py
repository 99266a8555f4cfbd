"""A database client with a thread of its own, so that a test can leave it blocked in a statement and go on."""

import concurrent.futures
import time

import psycopg2


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.pid = connection.get_backend_pid()
        self._worker = concurrent.futures.ThreadPoolExecutor(1)
        self._ended = False

    def begin(self, statement):
        """Sends the statement and returns a future of its rows; its exception is psycopg2's.

        The future's `ended` is the moment (time.monotonic()) at which the answer came.
        """
        future = self._worker.submit(self._run, statement)
        future.add_done_callback(lambda done: setattr(done, "ended", time.monotonic()))
        return future

    def run(self, statement, timeout=10.0):
        """Runs the statement and waits for its rows."""
        return self.begin(statement).result(timeout)

    def commit(self):
        self._worker.submit(self.connection.commit).result(10)

    def rollback(self):
        self._worker.submit(self.connection.rollback).result(10)

    def _run(self, statement):
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def abandon(self):
        """Ends the client, whatever it is doing; its connection is closed once it has nothing more to do."""
        if self._ended:
            return
        self._ended = True
        try:
            self.connection.cancel()
        except psycopg2.Error:
            pass  # already closed, or the server is gone
        self._worker.submit(self.connection.close)
        self._worker.shutdown(wait=False)

    def close(self):
        """Ends the client and its transaction; returns when that is done."""
        self.abandon()
        self._worker.shutdown(wait=True)
