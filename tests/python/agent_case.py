"""What the tests against a real gordian-agent share: agents, clients, threads that lock."""

import concurrent.futures
import contextlib
import pathlib
import shutil
import tempfile
import unittest

import gordian
from harness import LockAgent, LockPeer, wait_until


class AgentCase(unittest.TestCase):
    """Each test has its own agents, in the order of `sites`."""

    sites = ("a",)
    options = ()
    coordinator = ""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gordian-python-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self._programs = self.enterContext(contextlib.ExitStack())  # these end last, also those that are started again
        self.agents = {}
        for site in self.sites:
            self.start_agent(site)
        self.client = self.new_client()
        self.peers = {site: self.enterContext(LockPeer(agent.endpoint)) for site, agent in self.agents.items()}

    def start_agent(self, site, *options, environment=None):
        """Started again, it has the same endpoint and state."""
        listen = self.agents[site].endpoint if site in self.agents else "tcp://127.0.0.1:*"
        self.agents[site] = LockAgent(site, self.folder / f"{site}.state", *self.options, *options, coordinator=self.coordinator,
                                      listen=listen, environment=environment)
        return self._programs.enter_context(self.agents[site])

    def new_client(self, **more):
        return self.enterContext(gordian.LockClient({site: agent.endpoint for site, agent in self.agents.items()}, **more))

    def transaction(self, id, ttl=10.0, **more):
        session = self.enterContext(self.client.session(ttl))
        txn = session.transaction(id, **more)
        self.addCleanup(txn.end)
        return txn

    def begin(self, call, *arguments, **more):
        """Runs it on a thread of its own; a future."""
        worker = concurrent.futures.ThreadPoolExecutor(1)
        self.addCleanup(worker.shutdown, wait=False)
        return worker.submit(call, *arguments, **more)

    def name_at(self, site, number=0):
        """A name that belongs to that site."""
        names = (f"resource/{count}" for count in range(10_000))
        return [next(name for name in names if self.client.site_of(name) == site) for _ in range(number + 1)][-1]

    def wait_for_waiters(self, name, *txns, site=None):
        peer = self.peers[site or self.sites[0]]
        wait_until(lambda: set(peer.waiters(name)) == set(txns), 10, lambda: f"{txns} wait for {name}: {peer.query('locks')}")

    def assert_error(self, kind, future, timeout=15):
        with self.assertRaises(kind) as caught:
            future.result(timeout)
        return caught.exception
