"""Agents in Python, in cycles with each other and with a real gordian-postgres."""

import contextlib
import pathlib
import sys
import time
import unittest

import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from gordian_agent import DONE, HOLDING, WAITING, Agent, ask  # noqa: E402
from harness import Gordiand, PostgresAgent, PostgresServer, wait_until  # noqa: E402
from lock_table import Aborted, LockTable  # noqa: E402


def incidents(coordinator):
    return ask(coordinator.endpoint, "incidents")["incidents"]


def wait_for_incident(coordinator):
    """The only incident, once it is resolved."""
    return wait_until(lambda: [i for i in incidents(coordinator) if i["outcome"] == "resolved"], 5,
                      lambda: f"a resolved incident: {incidents(coordinator)}", 0.02)[0]


def wait_for_sites(coordinator, *names):
    def complete():
        return {site["site"] for site in ask(coordinator.endpoint, "status")["sites"] if site["state"] == "complete"}

    wait_until(lambda: complete() >= set(names), 10, f"{names} are complete", 0.02)


class TwoPythonAgents(unittest.TestCase):
    def test_the_victim_of_a_crossing_is_aborted_and_the_incident_is_stored(self):
        with contextlib.ExitStack() as stack:
            coordinator = stack.enter_context(Gordiand())
            a = stack.enter_context(LockTable("a", coordinator.endpoint))
            b = stack.enter_context(LockTable("b", coordinator.endpoint))
            for start, txn in enumerate(("T1", "T2")):
                for table in (a, b):
                    table.begin(txn, start)
            a.lock("T1", "r").result(0)
            b.lock("T2", "r").result(0)
            older = b.lock("T1", "r")
            younger = a.lock("T2", "r")

            with self.assertRaises(Aborted) as error:
                younger.result(5)
            older.result(5)  # the victim's branch at b is freed, too
            incident = wait_for_incident(coordinator)
            self.assertEqual(incident["id"], str(error.exception))
            self.assertEqual(incident["victims"], ["T2"])
            self.assertEqual({(edge["waiter"], edge["blocker"], edge["site"]) for edge in incident["edges"]},
                             {("T1", "T2", "b"), ("T2", "T1", "a")})
            self.assertEqual([order.role for order in a.orders + b.orders], [WAITING, HOLDING])

            coordinator.wait_until_stored(incident["id"])
            coordinator.kill()
            with Gordiand(history=coordinator.history) as again:
                self.assertEqual([i["id"] for i in incidents(again)], [incident["id"]])

    def test_three_sites_and_a_bystander(self):
        with contextlib.ExitStack() as stack:
            coordinator = stack.enter_context(Gordiand())
            tables = [stack.enter_context(LockTable(f"s{i}", coordinator.endpoint)) for i in range(3)]
            for start, txn in enumerate(("T0", "T1", "T2", "by")):
                tables[0].begin(txn, start)
            for i, table in enumerate(tables):
                table.lock(f"T{i}", "r").result(0)
            bystander = tables[0].lock("by", "r")
            waits = [tables[(i + 1) % 3].lock(f"T{i}", "r") for i in range(3)]
            with self.assertRaises(Aborted):
                waits[2].result(5)
            waits[1].result(5)
            self.assertEqual(wait_for_incident(coordinator)["victims"], ["T2"])
            self.assertFalse(waits[0].done() or bystander.done())
            for txn in ("T1", "T0"):
                for table in tables:
                    table.end(txn)
            bystander.result(5)
            self.assertEqual(len(incidents(coordinator)), 1)


class Holders:
    """A site whose only resource is held by a group; an order takes the victim out of it and ends its wait."""

    def __init__(self, site, endpoint, *members):
        self.agent = Agent(site, endpoint, self._abort)
        self.orders = []
        self._waits = {}
        with self.agent.reporting() as session:
            self.group = session.begin_group("r", "S")
            for member in members:
                session.join_group(self.group, member)

    def __enter__(self):
        self.agent.__enter__()
        return self

    def __exit__(self, *_):
        self.agent.__exit__()

    def wait(self, waiter):
        with self.agent.reporting() as session:
            self._waits[waiter] = session.begin_wait(time.monotonic(), waiter, [], resource="r", groups=[self.group])

    def _abort(self, order):
        session = self.agent.session
        self.orders.append((order.victim, order.role))
        session.leave_group(self.group, order.victim)
        if order.victim in self._waits:
            session.end_wait(self._waits.pop(order.victim))
        return DONE, ""


class Groups(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.coordinator = self.stack.enter_context(Gordiand())

    def site(self, name, *members):
        holders = self.stack.enter_context(Holders(name, self.coordinator.endpoint, *members))
        wait_for_sites(self.coordinator, name)
        return holders

    def test_a_crossing_of_members_of_two_groups(self):
        a, b = self.site("a", "T1", "T7"), self.site("b", "T8", "T2")
        b.wait("T1")
        a.wait("T2")
        incident = wait_for_incident(self.coordinator)
        self.assertEqual(incident["victims"], ["T2"])
        self.assertEqual({(edge["waiter"], edge["blocker"], edge["site"], edge["resource"]) for edge in incident["edges"]},
                         {("T1", "T2", "b", "r"), ("T2", "T1", "a", "r")})
        self.assertEqual((a.orders, b.orders), ([("T2", WAITING)], [("T2", HOLDING)]))
        [group] = ask(self.coordinator.endpoint, "graph")["groups"]
        self.assertEqual((group["site"], group["resource"], group["members"]), ("b", "r", ["T8"]))

    def test_readers_that_convert(self):
        a = self.site("a", "T1", "T2", "T3")
        a.wait("T1")
        a.wait("T9")  # a bystander
        wait_until(lambda: len(ask(self.coordinator.endpoint, "graph")["waits"]) == 2, 5, "both waits are known", 0.02)
        self.assertEqual(incidents(self.coordinator), [])
        a.wait("T2")
        self.assertEqual(wait_for_incident(self.coordinator)["victims"], ["T2"])
        self.assertEqual(len(incidents(self.coordinator)), 1)


class PythonAndPostgres(unittest.TestCase):
    """Global transactions with a branch in PostgreSQL and one in the Python engine."""

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.server = self.stack.enter_context(PostgresServer())
        self.server.run("create table account (id int primary key, balance int)", "insert into account values (1, 0)")
        self.coordinator = self.stack.enter_context(Gordiand())
        self.stack.enter_context(PostgresAgent("pg", self.server, self.coordinator.endpoint))
        self.table = self.stack.enter_context(LockTable("py", self.coordinator.endpoint))
        wait_for_sites(self.coordinator, "pg", "py")

    def cross(self, postgres_waits_first):
        """T1 holds the row, T2 the lock in Python; each waits for the other's.
        Returns T1's future in Python, T2's in PostgreSQL, and the clients."""
        clients = {name: self.server.client(f"gtx:{name}") for name in ("T1", "T2")}
        update = "update account set balance = balance + 1 where id = 1"
        clients["T1"].run(update)
        self.table.lock("T2", "r").result(0)
        if postgres_waits_first:
            in_postgres = clients["T2"].begin(update)
            self.server.wait_until_waiting(clients["T2"])
            in_python = self.table.lock("T1", "r")
        else:
            in_python = self.table.lock("T1", "r")
            in_postgres = clients["T2"].begin(update)
        return in_python, in_postgres, clients

    def prefer_as_victim(self, victim, spared):
        """By start times that only the Python site reports; PostgreSQL's own are of this century."""
        self.table.begin(victim, start=4e15)
        self.table.begin(spared, start=1)

    def check_incident(self, victim):
        incident = wait_for_incident(self.coordinator)
        self.assertEqual(incident["victims"], [victim])
        self.assertEqual({(edge["waiter"], edge["blocker"], edge["site"]) for edge in incident["edges"]},
                         {("T1", "T2", "py"), ("T2", "T1", "pg")})
        self.assertEqual(len(incidents(self.coordinator)), 1)

    def test_the_victim_waits_in_postgres(self):
        self.prefer_as_victim("T2", spared="T1")
        in_python, in_postgres, clients = self.cross(postgres_waits_first=False)
        with self.assertRaises(psycopg2.Error):
            in_postgres.result(10)
        in_python.result(10)  # T2 was idle in the Python engine: its lock there is freed
        self.check_incident("T2")
        self.assertEqual([(order.victim, order.role) for order in self.table.orders], [("T2", HOLDING)])
        self.assertEqual(self.table.holds("T1"), ["r"])
        clients["T1"].commit()
        self.assertEqual(self.server.run("select balance from account"), [(1,)])

    def test_the_victim_waits_in_python(self):
        self.prefer_as_victim("T1", spared="T2")
        in_python, in_postgres, clients = self.cross(postgres_waits_first=True)
        with self.assertRaises(Aborted):
            in_python.result(10)
        in_postgres.result(10)  # T1 was idle in PostgreSQL: its row there is freed
        self.check_incident("T1")
        self.assertEqual([(order.victim, order.role) for order in self.table.orders], [("T1", WAITING)])
        clients["T2"].commit()
        self.assertEqual(self.server.run("select balance from account"), [(1,)])


if __name__ == "__main__":
    unittest.main()
