"""A small engine: exclusive locks in memory, first come, first served, which report their waits to a Gordian agent.

It never looks for deadlocks itself.
"""

import concurrent.futures
import time

from gordian_agent import DONE, Agent


class Aborted(Exception):
    """The transaction was ended to break a deadlock."""


class LockTable:
    """`with LockTable("site", endpoint) as table: table.lock("T1", "r").result(1)`."""

    def __init__(self, site, endpoint, agent=Agent, **options):
        self.agent = agent(site, endpoint, self._abort, **options)
        self.orders = []  # every order that was carried out here
        self._holders = {}  # resource -> transaction
        self._queues = {}  # resource -> [(transaction, sequence, future)], first come first
        self._aborted = {}  # transaction -> why; until it is ended by its owner

    def __enter__(self):
        self.agent.__enter__()
        return self

    def __exit__(self, *_):
        self.agent.__exit__()

    def begin(self, txn, start=None):
        with self.agent.reporting() as session:
            session.describe(txn, start, label=f"client of {txn}")

    def lock(self, txn, resource):
        """A future: done once the lock is held; its exception is Aborted."""
        future = concurrent.futures.Future()
        with self.agent.reporting() as session:
            if txn in self._aborted:
                future.set_exception(Aborted(self._aborted[txn]))
            elif self._holders.setdefault(resource, txn) == txn:
                future.set_result(None)
            else:
                queue = self._queues.setdefault(resource, [])
                soft = [ahead for ahead, _, _ in queue]
                sequence = session.begin_wait(time.monotonic(), txn, [self._holders[resource]], soft, resource)
                queue.append((txn, sequence, future))
        return future

    def end(self, txn):
        """Commit or roll back: all that it holds or waits for here is free."""
        with self.agent.reporting() as session:
            self._free(session, txn, Aborted("rolled back"))
            self._aborted.pop(txn, None)
            session.forget(txn)

    def holds(self, txn):
        with self.agent.reporting():
            return [resource for resource, holder in self._holders.items() if holder == txn]

    def _abort(self, order):
        """Called by the agent's thread, within reporting()."""
        self.orders.append(order)
        self._aborted[order.victim] = order.incident
        self._free(self.agent.session, order.victim, Aborted(order.incident))
        return DONE, ""

    def _free(self, session, txn, error):
        touched = set(self.holds(txn))
        for resource in touched:
            del self._holders[resource]
        for resource, queue in self._queues.items():
            for entry in [entry for entry in queue if entry[0] == txn]:
                touched.add(resource)
                queue.remove(entry)
                session.end_wait(entry[1])
                entry[2].set_exception(error)
        for resource in touched:
            self._pass_on(session, resource)

    def _pass_on(self, session, resource):
        queue = self._queues.get(resource, [])
        if queue and resource not in self._holders:
            txn, sequence, future = queue.pop(0)
            self._holders[resource] = txn
            session.end_wait(sequence)
            future.set_result(None)
        for place, (_, sequence, _) in enumerate(queue):
            session.set_blockers(sequence, [self._holders[resource]], [ahead for ahead, _, _ in queue[:place]])
