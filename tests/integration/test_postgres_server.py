"""gordian-postgres and its server: a server that goes and comes, hangs, refuses the login or lacks rights; identities."""

import pathlib
import subprocess
import tempfile
import unittest

from harness import Gordiand, PostgresAgent, PostgresServer, wait_until
from harness.program import binary
from postgres_case import FAST, UPDATE, PostgresCase, error_of


def unread_bytes(port):
    """What was sent to this TCP port of this machine, and not read there yet."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].split(":")[1], 16) for row in rows if int(row[1].split(":")[1], 16) == port and row[3] == "01")


class AwayTest(PostgresCase):
    agent_options = FAST + ["--reply-limit", "300ms"]

    def local_wait(self):
        """One session of server a waits for another: both, and the waiting statement."""
        holder, waiter = self.session("a", "gtx:holder"), self.session("a", "gtx:waiter")
        holder.run(UPDATE.format(1))
        statement = waiter.begin(UPDATE.format(1))
        self.wait_for_edges({("waiter", "holder", "hard")})
        return holder, waiter, statement

    def test_waits_go_with_the_server_and_work_goes_on_when_it_is_back(self):
        self.local_wait()
        said = self.agents["a"].stderr.count("connected to PostgreSQL")
        self.servers["a"].stop()
        self.wait_for_edges(set())
        self.assertRegex(self.agents["a"].stderr, r"error site=a lost the server \(host=127.0.0.1 .*waits are withdrawn")
        self.agents["a"].wait_for_output("cannot work with the server .* refused.*start the server")
        self.assertEqual(self.cli.site("a")["state"], "complete")  # the agent lives, and knows of no wait
        self.servers["a"].start()
        wait_until(lambda: self.agents["a"].stderr.count("connected to PostgreSQL") > said, 10, "connected again")
        first, second = self.transaction("first"), self.transaction("second")
        one, two = self.cross(first, second)
        self.assertIn("canceling statement", error_of(two))
        second["b"].rollback()
        one.result(10)

    def test_hanging_server_is_noticed(self):
        holder, _, statement = self.local_wait()
        self.servers["a"].suspend()
        try:
            self.wait_for_edges(set())
            self.agents["a"].wait_for_output(r"no reply within 300 ms; look whether the server hangs")
        finally:
            self.servers["a"].resume()
        self.wait_for_edges({("waiter", "holder", "hard")})
        holder.commit()
        statement.result(10)

    def test_agent_stops_at_once_though_its_server_hangs(self):
        with PostgresServer() as server:
            server.suspend()
            with PostgresAgent("c", server, self.gordiand.endpoint, "--reply-limit", "30s") as agent:
                self.cli.wait_for_sites("c")
                wait_until(lambda: unread_bytes(server.port) > 0, 5, "it waits for the server's answer")
                self.assertEqual(agent.stop(), 0)
                self.assertLess(agent.stop_seconds, 1.0)
        wait_until(lambda: (self.cli.site("c") or {}).get("state") != "complete", 5, "it said goodbye")


class LoginTest(unittest.TestCase):
    """What the agent says when it is not let in. It tries again, so nothing but its log tells."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(PostgresServer(
            access=["host all secret 127.0.0.1/32 scram-sha-256", "host all stranger 127.0.0.1/32 reject"]))
        cls.server.run("create role secret login password 'right'", "create role stranger login", "create role plain login",
                       "create role monitor login in role pg_monitor", "create role few login connection limit 0 in role pg_monitor")
        cls.gordiand = cls.enterClassContext(Gordiand())

    def agent(self, conninfo, **environment):
        whole = f"host=127.0.0.1 port={self.server.port} " + conninfo
        return self.enterContext(PostgresAgent("a", None, self.gordiand.endpoint, conninfo=whole, environment=environment))

    def assert_says(self, agent, *patterns):
        for pattern in patterns:
            agent.wait_for_output(pattern)
        self.assertTrue(agent.running())

    def test_wrong_password_and_then_the_right_one(self):
        agent = self.agent("dbname=postgres user=secret password=wrong")
        self.assert_says(agent, r'error site=a .*user "secret".*check the user and the password \(PGPASSWORD')
        self.assertNotIn("wrong", agent.stderr)
        self.server.run("alter role secret password 'wrong'", "grant pg_monitor to secret")
        self.addCleanup(self.server.run, "alter role secret password 'right'", "revoke pg_monitor from secret")
        agent.wait_until_connected()

    def test_missing_database(self):
        self.assert_says(self.agent("dbname=nowhere user=postgres"), '"nowhere" does not exist; name a database and a role')

    def test_not_let_in(self):
        self.assert_says(self.agent("dbname=postgres user=stranger"), "pg_hba.conf rejects .*let this user in")

    def test_no_connection_free(self):
        self.assert_says(self.agent("dbname=postgres user=few"), 'too many connections for role "few"')

    def test_nobody_there(self):
        agent = self.enterContext(PostgresAgent("a", None, self.gordiand.endpoint, conninfo="host=/nowhere port=1"))
        self.assert_says(agent, "start the server, or correct host and port in --connect")

    def test_role_without_rights(self):
        agent = self.agent("dbname=postgres user=plain")
        self.assert_says(agent, "role plain may not see other users' transactions; .*GRANT pg_monitor TO plain")
        self.server.run("grant pg_monitor to plain")
        self.addCleanup(self.server.run, "revoke pg_monitor from plain")
        agent.wait_until_connected()

    def test_role_that_may_not_abort(self):
        self.assert_says(self.agent("dbname=postgres user=monitor"), "warning site=a this role may not abort.*GRANT pg_signal_backend")

    def test_says_the_same_thing_once(self):
        agent = self.agent("dbname=nowhere user=postgres")

        def attempts():
            return self.server.log.count('database "nowhere" does not exist')

        before = attempts()
        wait_until(lambda: attempts() >= before + 3, 10, "three attempts")
        self.assertEqual(agent.stderr.count("cannot work with the server"), 1)


class OptionsTest(unittest.TestCase):
    def run_agent(self, *arguments):
        return subprocess.run([binary("gordian-postgres"), *arguments], capture_output=True, text=True, timeout=10, check=False)

    def test_wrong_options_end_with_2(self):
        for arguments, message in [(("--site", ""), "site id is empty.*--site"),
                                   (("--site", "a", "--identity-pattern", "gtx:.*"), "0 groups, expected exactly one"),
                                   (("--site", "a", "--gid-pattern", "(("), "not a regular expression"),
                                   (("--site", "a", "--never-pattern", "["), "not a regular expression"),
                                   (("--site", "a", "--connect", "host"), 'missing "=" after "host"'),
                                   (("--site", "a", "--prepared", "commit"), "expected one of: never, rollback"),
                                   (("--site", "a", "--poll-interval", "0"), "expected 1ms to 1min"),
                                   (("--site", "a", "--poll-interval", "10ms"), "busy_poll_interval is longer"),
                                   (("--site", "a", "--coordinator", "nonsense"), "nonsense"),
                                   (("--no-such",), "no-such")]:
            with self.subTest(arguments):
                finished = self.run_agent(*arguments)
                self.assertEqual(finished.returncode, 2, finished.stderr)
                self.assertRegex(finished.stderr, message)

    def test_settings_in_layers(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('site = "from-file"\nconnect = "password=secret host=h"\npoll_interval = "200ms"\n')
            file.flush()
            finished = self.run_agent("--config", file.name, "--poll-interval", "300ms", "--print-config")
        self.assertEqual(finished.returncode, 0, finished.stderr)
        self.assertIn('site = "from-file"', finished.stdout)
        self.assertIn('poll_interval = "300ms"', finished.stdout)
        self.assertNotIn("secret", finished.stdout)
        self.assertEqual(self.run_agent("--site", "a", "--check-config").returncode, 0)


class IdentityTest(PostgresCase):
    agent_options = FAST + ["--identity-pattern", r"\btx=(\w+)", "--never-pattern", "^admin"]

    def test_pattern_and_untagged(self):
        holder, waiter = self.session("a", "shop tx=T7 v2"), self.session("a", "psql")
        holder.run(UPDATE.format(1))
        waiter.begin(UPDATE.format(1))
        wait = wait_until(lambda: self.cli.graph()["waits"], 10, "the wait is seen")[0]
        self.assertEqual([blocker["txn"] for blocker in wait["blockers"]], ["T7"])
        self.assertRegex(wait["waiter"], rf"^a/{waiter.pid}/\d+/\d+$")
        self.assertEqual(wait["mode"], "ShareLock")
        labels = {txn["txn"]: txn["label"] for txn in self.cli.graph()["txns"]}
        self.assertEqual(labels, {"T7": "shop tx=T7 v2", wait["waiter"]: "psql"})

    def test_the_next_transaction_of_a_session_is_another_one(self):
        holder, waiter = self.session("a"), self.session("a")
        holder.run(UPDATE.format(1))
        waiter.begin(UPDATE.format(1))
        first = wait_until(lambda: self.cli.graph()["waits"], 10, "the wait is seen")[0]
        holder.commit()
        wait_until(lambda: not self.cli.graph()["waits"], 10, "the wait is over")
        waiter.rollback()
        holder.run(UPDATE.format(1))
        waiter.begin(UPDATE.format(1))
        second = wait_until(lambda: self.cli.graph()["waits"], 10, "the second wait is seen")[0]
        self.assertNotEqual(first["waiter"], second["waiter"])
        self.assertNotEqual(first["blockers"][0]["txn"], second["blockers"][0]["txn"])

    def test_id_set_within_the_transaction(self):
        holder, waiter = self.session("a", "pool"), self.session("a", "pool")
        holder.run("set local application_name = 'tx=late'")
        holder.run(UPDATE.format(1))
        waiter.begin(UPDATE.format(1))
        wait = wait_until(lambda: self.cli.graph()["waits"], 10, "the wait is seen")[0]
        self.assertEqual([blocker["txn"] for blocker in wait["blockers"]], ["late"])

    def test_who_matches_the_never_pattern_is_spared(self):
        first, second = ({site: self.session(site, name) for site in "ab"} for name in ("tx=old", "admin tx=young"))
        one, two = self.cross(first, second)
        self.assertIn("canceling statement", error_of(one))
        first["a"].rollback()
        two.result(10)
        self.assertEqual(self.settled_incident()["victims"], ["old"])


if __name__ == "__main__":
    unittest.main()
