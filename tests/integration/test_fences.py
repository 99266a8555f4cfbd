"""The SQL of docs/fences.md on a real PostgreSQL: a stale holder is refused, whoever comes first and however they interleave."""

import pathlib
import re
import unittest

import psycopg2

from harness import PostgresServer

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "fences.md"


def blocks():
    """The page's SQL: the table and function, their use, the columns and the update."""
    return re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


class FenceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = PostgresServer().__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        create, cls.use, in_row = blocks()
        alter, cls.update = in_row.strip().split("\n\n")
        cls.server.run("CREATE TABLE orders (id int PRIMARY KEY, state text)", "INSERT INTO orders VALUES (42, 'new'), (43, 'new')",
                       create, alter)

    def state(self, order):
        return self.server.run(f"SELECT state FROM orders WHERE id = {order}")[0][0]

    def admit(self, client, name, epoch, counter):
        return client.run(f"SELECT gordian_admit('{name}', {epoch}, {counter})")

    def test_the_example_as_it_stands(self):
        self.server.run(self.use)
        self.assertEqual(self.state(42), "paid")

    def test_less_is_refused_and_the_same_is_not(self):
        run = self.server.run
        for epoch, counter in ((1, 7), (1, 7), (1, 8), (2, 1)):
            run(f"SELECT gordian_admit('a', {epoch}, {counter})")
        for epoch, counter in ((2, 0), (1, 9), (0, 0)):
            with self.assertRaises(psycopg2.Error) as refused:
                run(f"SELECT gordian_admit('a', {epoch}, {counter})")
            self.assertEqual(refused.exception.pgcode, "GF001")
            self.assertIn(f'fence ({epoch}, {counter}) of lock "a" is older', str(refused.exception))
        run("SELECT gordian_admit('b', 1, 1)")  # each lock for itself
        run(r"SELECT gordian_admit('\x00ff27', 1, 1)")  # any bytes

    def test_stale_holder_that_waits_for_the_row_is_refused_when_it_gets_it(self):
        new, old = self.server.client(), self.server.client()
        self.admit(new, "c", 1, 8)
        new.run("UPDATE orders SET state = 'by the new one' WHERE id = 43")
        late = old.begin("SELECT gordian_admit('c', 1, 7)")
        new.commit()
        with self.assertRaises(psycopg2.Error) as refused:
            late.result(10)
        self.assertEqual(refused.exception.pgcode, "GF001")
        old.rollback()
        self.assertEqual(self.state(43), "by the new one")

    def test_admission_that_is_rolled_back_was_none(self):
        client = self.server.client()
        self.admit(client, "d", 5, 5)
        client.rollback()
        self.server.run("SELECT gordian_admit('d', 1, 1)")

    def test_fence_in_the_row(self):
        connection = self.server.connect()
        self.addCleanup(connection.close)
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE orders SET fence_epoch = 0, fence_counter = 0 WHERE id = 42")
            cursor.execute(self.update)
            self.assertEqual(cursor.rowcount, 1)
            cursor.execute(self.update)
            self.assertEqual(cursor.rowcount, 1)
            cursor.execute(self.update.replace("(1, 8)", "(1, 7)").replace("fence_counter = 8", "fence_counter = 7"))
            self.assertEqual(cursor.rowcount, 0)


if __name__ == "__main__":
    unittest.main()
