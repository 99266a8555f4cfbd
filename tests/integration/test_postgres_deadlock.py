"""Deadlocks across two real PostgreSQL servers: found, broken, and nobody aborted without need."""

import signal
import unittest

import psycopg2
from harness import wait_until
from postgres_case import UPDATE, PostgresCase, error_of


class CrossingTest(PostgresCase):
    """Clients that roll back after an error."""

    gordiand_options = ["--confirm-timeout", "20s", "--lease", "30s"]

    def test_two_crossing_transactions(self):
        first, second = self.transaction("first"), self.transaction("second")
        one, two = self.cross(first, second)
        self.assertIn("canceling statement", error_of(two))  # the second is the younger
        second["a"].rollback()
        second["b"].rollback()
        one.result(10)
        for branch in first.values():
            branch.commit()
        incident = self.settled_incident()
        self.assertEqual(incident["victims"], ["second"])
        self.assertEqual(incident["outcome"], "resolved")
        self.assertEqual({(edge["waiter"], edge["blocker"]) for edge in incident["edges"]},
                         {("first", "second"), ("second", "first")})
        for edge in incident["edges"]:
            self.assertRegex(edge["resource"], r"^row public\.account \(0,\d+\)$")
            self.assertEqual(edge["detail"], UPDATE.format(1))

    def test_one_after_the_other(self):
        for number in range(5):
            with self.subTest(round=number):
                self.setUp()
                first, second = self.transaction(f"first{number}"), self.transaction(f"second{number}")
                one, two = self.cross(first, second)
                self.assertIn("canceling statement", error_of(two))
                second["a"].rollback()
                second["b"].rollback()
                one.result(10)
                self.settled_incident()
                for branch in first.values():
                    branch.rollback()

    def test_a_second_waiter_for_a_row_is_seen_to_wait_for_its_holder(self):
        holder, before, second = self.transaction("holder"), self.transaction("before"), self.transaction("second")
        holder["a"].run(UPDATE.format(1))
        second["b"].run(UPDATE.format(1))
        queued = before["a"].begin(UPDATE.format(1))
        self.servers["a"].wait_until_waiting(before["a"])
        behind = second["a"].begin(UPDATE.format(1))  # waits for the tuple lock of `before`
        self.servers["a"].wait_until_waiting(second["a"])
        self.wait_for_edges({("before", "holder", "hard"), ("second", "holder", "hard"), ("second", "before", "dotted")})
        closing = holder["b"].begin(UPDATE.format(1))
        self.assertIn("canceling statement", error_of(behind))
        second["b"].rollback()
        closing.result(10)
        incident = self.settled_incident()
        self.assertEqual(incident["victims"], ["second"])
        # `before` has the tuple lock, and keeps it as long as it waits here itself: it is on a cycle, too.
        self.assertEqual({txn["txn"] for txn in incident["txns"]}, {"second", "before", "holder"})
        holder["a"].commit()
        queued.result(10)

    def test_a_deadlock_through_a_queue_that_cannot_be_reordered(self):
        reader, writer, late = self.session("a", "gtx:reader"), self.transaction("writer"), self.transaction("late")
        reader.run("select * from account")
        writer["b"].run("select 1")  # the older one
        late["b"].run(UPDATE.format(1))
        locking = writer["a"].begin("lock table account in access exclusive mode")
        self.servers["a"].wait_until_waiting(writer["a"])
        behind = late["a"].begin("select * from account")
        self.servers["a"].wait_until_waiting(late["a"])
        closing = writer["b"].begin(UPDATE.format(1))
        self.assertIn("canceling statement", error_of(behind))
        late["b"].rollback()
        closing.result(10)
        incident = self.settled_incident()
        self.assertEqual(incident["victims"], ["late"])
        self.assertEqual({(edge["waiter"], edge["kind"]) for edge in incident["edges"]}, {("late", "soft"), ("writer", "hard")})
        self.assertIn("not reordered at site a: this engine does not reorder queues", [step["what"] for step in incident["steps"]])
        reader.commit()
        locking.result(10)

    def test_who_is_only_queued_ahead_is_soft(self):
        reader, writer, late = (self.session("a", f"gtx:{name}") for name in ("reader", "writer", "late"))
        reader.run("select * from account")
        writer.begin("lock table account in access exclusive mode")
        self.servers["a"].wait_until_waiting(writer)
        late.begin("select * from account")
        self.servers["a"].wait_until_waiting(late)
        self.wait_for_edges({("writer", "reader", "hard"), ("late", "writer", "soft")})
        reader.commit()
        self.wait_for_edges({("late", "writer", "hard")})  # it has the lock now
        self.assertEqual(self.incidents(), [])

    def test_the_users_own_cancel_between_detection_and_confirmation_saves_everybody(self):
        first, second = self.transaction("first"), self.transaction("second")
        first["a"].run(UPDATE.format(1))
        second["b"].run(UPDATE.format(1))
        one = first["b"].begin(UPDATE.format(1))
        self.wait_for_edges({("first", "second", "hard")})
        candidates = self.cli.status()["counters"].get("candidates", 0)
        self.agents["b"].signal(signal.SIGSTOP)  # it cannot confirm yet
        try:
            two = second["a"].begin(UPDATE.format(1))
            wait_until(lambda: self.cli.status()["counters"].get("candidates", 0) > candidates, 10, "the cycle is found")
            self.servers["b"].run(f"select pg_cancel_backend({first['b'].pid})")
            self.assertIn("canceling statement", error_of(one))
        finally:
            self.agents["b"].signal(signal.SIGCONT)
        wait_until(lambda: self.cli.status()["counters"].get("candidates_denied", 0) > 0, 10, "agent b says no")
        self.assertFalse(two.done())
        first["a"].rollback()
        two.result(10)  # nobody aborted it
        self.assertEqual(self.incidents(), [])
        self.assertEqual(self.servers["a"].log.count("statement: select pg_cancel_backend"), 0)


class StubbornVictimTest(PostgresCase):
    """Victims whose locks do not go with the cancelled statement."""

    agent_options = PostgresCase.agent_options + ["--idle-branch-grace", "300ms"]
    gordiand_options = ["--abort-grace", "1s"]

    def test_idle_branch_is_ended_when_its_client_does_nothing(self):
        first, second = self.transaction("first"), self.transaction("second")
        one, two = self.cross(first, second)
        self.assertIn("canceling statement", error_of(two))
        one.result(10)  # though the client of `second` has rolled nothing back
        incident = self.settled_incident()
        self.assertEqual(incident["outcome"], "resolved")
        self.assertIn("second: locks free at site b", self.steps(incident))
        with self.assertRaises(psycopg2.OperationalError):
            second["b"].run("select 1")

    def cross_with_savepoint(self):
        """A crossing whose victim has a lock from before a savepoint: a cancel alone does not free it."""
        first, second = self.transaction("first"), self.transaction("second")
        first["a"].run(UPDATE.format(1))
        second["b"].run(UPDATE.format(1))
        second["a"].run(UPDATE.format(2))
        second["a"].run("savepoint keep")
        one, two = self.close_crossing(first, second)
        return first, second, one, two

    def test_savepoint_that_stays_open_leads_to_termination(self):
        first, second, one, two = self.cross_with_savepoint()
        self.assertIn("canceling statement", error_of(two))
        one.result(10)
        incident = self.settled_incident()
        self.assertEqual(incident["victims"], ["second"])
        self.assertEqual(incident["outcome"], "resolved")
        self.assertIn("keeps its locks", self.steps(incident))
        self.assertIn("attempt 2", self.steps(incident))
        self.assertEqual(self.open_transactions("a"), ["gtx:first"])
        with self.assertRaises(psycopg2.OperationalError):
            second["a"].run("select 1")

    def test_client_that_goes_back_to_its_savepoint_keeps_its_transaction(self):
        first, second, one, two = self.cross_with_savepoint()
        self.assertIn("canceling statement", error_of(two))
        second["a"].run("rollback to savepoint keep")  # it waits no more: that was enough
        self.settled_incident()
        self.assertFalse(one.done())
        second["a"].commit()
        second["b"].commit()
        one.result(10)
        self.assertGreater(self.servers["a"].run("select balance from account where id = 2")[0][0], 0)

    def test_function_that_swallows_the_cancel_leads_to_termination(self):
        self.servers["a"].run("""create or replace function stubborn() returns void language plpgsql as $$ begin loop begin
            update account set balance = balance + 1 where id = 1; return;
            exception when query_canceled then null; end; end loop; end $$""")
        first, second = self.transaction("first"), self.transaction("second")
        first["a"].run(UPDATE.format(1))
        second["b"].run(UPDATE.format(1))
        one = first["b"].begin(UPDATE.format(1))
        self.servers["b"].wait_until_waiting(first["b"])
        two = second["a"].begin("select stubborn()")
        self.assertIsInstance(two.exception(10), psycopg2.OperationalError)
        self.assertIn("gtx:second FATAL:  terminating connection", self.servers["a"].log)
        one.result(10)
        incident = self.settled_incident()
        self.assertEqual(incident["victims"], ["second"])
        self.assertIn("attempt 2", self.steps(incident))


class PreparedTest(PostgresCase):
    """A transaction that is prepared at one server and waits at the other."""

    def cross_with_prepared(self):
        older, younger = self.transaction("older"), self.transaction("younger")
        older["b"].run(UPDATE.format(1))
        younger["a"].run(UPDATE.format(1))
        younger["a"].run("prepare transaction 'gtx:younger/a'")
        self.addCleanup(self.end_prepared)
        waits_here = older["a"].begin(UPDATE.format(1))
        self.servers["a"].wait_until_waiting(older["a"])
        return older, younger, waits_here, younger["b"].begin(UPDATE.format(1))

    def end_prepared(self):
        for (gid,) in self.servers["a"].run("select gid from pg_prepared_xacts"):
            self.servers["a"].run(f"rollback prepared '{gid}'")

    def test_a_prepared_transaction_is_never_the_victim(self):
        older, younger, waits_for_prepared, waits_for_older = self.cross_with_prepared()
        self.assertIn("canceling statement", error_of(waits_for_prepared))
        older["b"].rollback()
        waits_for_older.result(10)
        incident = self.settled_incident()
        self.assertEqual(incident["victims"], ["older"])
        self.assertEqual({txn["class"] for txn in incident["txns"] if txn["txn"] == "younger"}, {"never"})
        self.assertEqual(self.servers["a"].run("select gid from pg_prepared_xacts"), [("gtx:younger/a",)])


class PreparedRollbackTest(PreparedTest):
    """The same where the operator has allowed it."""

    agent_options = PostgresCase.agent_options + ["--prepared", "rollback"]

    def test_a_prepared_transaction_is_never_the_victim(self):
        """Here it may be: it is the younger."""
        older, younger, waits_for_prepared, waits_for_older = self.cross_with_prepared()
        self.assertIn("canceling statement", error_of(waits_for_older))
        waits_for_prepared.result(10)
        self.assertEqual(self.settled_incident()["victims"], ["younger"])
        self.assertEqual(self.servers["a"].run("select gid from pg_prepared_xacts"), [])


def local_cycle(case):
    """Two sessions of server a that wait for each other: their waiting statements."""
    one, two = case.session("a", "gtx:one"), case.session("a", "gtx:two")
    one.run(UPDATE.format(1))
    two.run(UPDATE.format(2))
    waits = [one.begin(UPDATE.format(2))]
    case.servers["a"].wait_until_waiting(one)
    return waits + [two.begin(UPDATE.format(1))]


class LocalDeadlockLeftTest(PostgresCase):
    """PostgreSQL's own business by default."""

    server_settings = ["deadlock_timeout = 2s"]

    def test_the_server_breaks_its_own(self):
        waits = local_cycle(self)
        wait_until(lambda: self.cli.status()["counters"].get("local_deadlocks_left"), 10, "Gordian sees it and leaves it")
        wait_until(lambda: any(wait.done() for wait in waits), 10, "the server breaks it")
        self.assertEqual(["deadlock detected" in error_of(wait) for wait in waits].count(True), 1)
        self.assertEqual(self.incidents(), [])


class LocalDeadlockResolvedTest(PostgresCase):
    agent_options = PostgresCase.agent_options + ["--local-deadlocks", "resolve"]
    server_settings = ["deadlock_timeout = 60s"]

    def test_gordian_is_sooner(self):
        one, two = local_cycle(self)
        self.assertIn("canceling statement", error_of(two))
        one.result(10)
        self.assertEqual(self.settled_incident()["victims"], ["two"])


if __name__ == "__main__":
    unittest.main()
