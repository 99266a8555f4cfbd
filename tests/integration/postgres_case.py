"""What the tests of gordian-postgres share: two servers, a coordinator and two agents, and transactions across both."""

import unittest

from harness import Gordiand, PostgresAgent, PostgresServer, wait_until

FAST = ["--publish-after", "0", "--poll-interval", "5ms", "--busy-poll-interval", "2ms"]
UPDATE = "update account set balance = balance + 1 where id = {}"


def error_of(future, timeout=10.0):
    """The text of the error that the statement ended with; "" if it did not."""
    error = future.exception(timeout)
    return str(error).strip() if error else ""


class PostgresCase(unittest.TestCase):
    """One pair of servers, `a` and `b`, for all tests of a class; every test begins and ends without open transactions."""

    agent_options = FAST
    gordiand_options = []
    server_settings = []

    @classmethod
    def start_servers(cls):
        cls.servers = {site: cls.enterClassContext(PostgresServer(settings=cls.server_settings)) for site in "ab"}
        for server in cls.servers.values():
            server.run("create table account (id int primary key, balance int not null)",
                       "insert into account select id, 0 from generate_series(1, 20) id")

    @classmethod
    def setUpClass(cls):
        cls.start_servers()
        cls.gordiand = cls.enterClassContext(Gordiand(*cls.gordiand_options))
        cls.cli = cls.gordiand.cli
        cls.agents = {site: cls.enterClassContext(PostgresAgent(site, server, cls.gordiand.endpoint, *cls.agent_options))
                      for site, server in cls.servers.items()}
        cls.cli.wait_for_sites("a", "b")
        for agent in cls.agents.values():
            agent.wait_until_connected()

    def setUp(self):
        wait_until(lambda: not self.cli.graph()["waits"], 10, "the waits of the test before are over", 0.02)
        self.known = {incident["id"] for incident in self.cli.deadlocks()["incidents"]}

    def session(self, site, application_name="", **more):
        """A client of one server, ended with the test."""
        client = self.servers[site].client(application_name, **more)
        self.addCleanup(client.close)
        return client

    def transaction(self, name):
        """A global transaction: its sessions at a and at b."""
        return {site: self.session(site, f"gtx:{name}") for site in "ab"}

    def cross(self, first, second):
        """Two transactions that each wait for the other: (statement of the first at b, of the second at a)."""
        first["a"].run(UPDATE.format(1))
        second["b"].run(UPDATE.format(1))
        return self.close_crossing(first, second)

    def close_crossing(self, first, second):
        """The waits of cross(), for transactions that hold row 1 already: the first at a, the second at b."""
        one = first["b"].begin(UPDATE.format(1))
        self.servers["b"].wait_until_waiting(first["b"])
        return one, second["a"].begin(UPDATE.format(1))

    def incidents(self):
        """Those of this test, oldest first."""
        return [i for i in reversed(self.cli.deadlocks()["incidents"]) if i["id"] not in self.known]

    def settled_incident(self):
        """The only incident of this test, once nothing more is being done about it."""
        def settled():
            found = self.incidents()
            return found and all(incident["outcome"] != "resolving" for incident in found) and found

        found = wait_until(settled, 15, lambda: f"an incident is settled: {self.incidents()}", 0.02)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def steps(self, incident):
        return "; ".join(step["what"] for step in incident["steps"])

    def edges(self):
        """The graph as it is: {(waiter, blocker, kind)}."""
        return {(wait["waiter"], blocker["txn"], blocker["kind"])
                for wait in self.cli.graph()["waits"] for blocker in wait["blockers"]}

    def wait_for_edges(self, expected):
        wait_until(lambda: self.edges() == expected, 10, lambda: f"edges {expected}, found {self.edges()}", 0.02)

    def open_transactions(self, site):
        """The application names of the sessions in a transaction."""
        return [name for (name,) in self.servers[site].run(
            "select application_name from pg_stat_activity where application_name like 'gtx:%' and xact_start is not null")]
