"""Waiting for something to become true, with a deadline."""

import time


def wait_until(condition, timeout=10.0, what=None, interval=0.005):
    """Asks `condition` until its answer is true, and returns that answer.

    Raises AssertionError after `timeout` seconds; `what` (text, or a function that gives it) says what was awaited.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout} s: {text or getattr(condition, '__doc__', None) or condition}")
        time.sleep(interval)
