"""`gordian lock`, `locks` and `unlock` against real lock agents."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from harness import LockAgent, wait_until
from harness.program import binary


class LockCliCase(unittest.TestCase):
    sites = ("a", "b")

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.agents = {site: self.stack.enter_context(LockAgent(site, self.folder / f"{site}.state")) for site in self.sites}

    @property
    def environment(self):
        return os.environ | {"GORDIAN_AGENTS": ",".join(f"{site}={agent.endpoint}" for site, agent in self.agents.items())}

    def run_gordian(self, *arguments, **options):
        return subprocess.run([binary("gordian"), *arguments], capture_output=True, text=True, timeout=20, check=False,
                              env=options.pop("env", self.environment), **options)

    def start(self, *arguments):
        process = subprocess.Popen([binary("gordian"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment)

        def end():
            process.kill()
            process.communicate()

        self.stack.callback(end)
        return process

    def locks(self, *arguments):
        """Resources by (site, name)."""
        views = json.loads(self.run_gordian("locks", "--format", "json", *arguments).stdout)
        return {(view["site"], resource["name"]): resource for view in views for resource in view["resources"]}

    def held(self, name):
        return [resource for (_, found), resource in self.locks().items() if found == name]

    def hold(self, name, *options):
        """A command that runs under the lock until it is told to end by its standard output being read; the process."""
        process = self.start("lock", name, *options, "--", "sh", "-c", "echo started; exec sleep 60")
        self.assertEqual(process.stdout.readline(), "started\n")
        return process


class LockTest(LockCliCase):
    def test_the_command_has_the_fence_and_its_exit_code_is_passed_through(self):
        command = ("sh", "-c", "echo $GORDIAN_LOCK $GORDIAN_FENCE $GORDIAN_FENCE_EPOCH $GORDIAN_FENCE_COUNTER; exit 7")
        first = self.run_gordian("lock", "orders/42", "--", *command)
        self.assertEqual(first.returncode, 7, first.stderr)
        name, fence, epoch, counter = first.stdout.split()
        self.assertEqual((name, fence), ("orders/42", f"{epoch}.{counter}"))
        second = self.run_gordian("lock", "orders/42", "--", *command)
        self.assertGreater([int(part) for part in second.stdout.split()[2:]], [int(epoch), int(counter)])
        self.assertEqual(self.locks(), {})

    def test_a_command_ended_by_a_signal(self):
        self.assertEqual(self.run_gordian("lock", "r", "--", "sh", "-c", "kill -9 $$").returncode, 128 + 9)

    def test_there_is_no_such_command(self):
        finished = self.run_gordian("lock", "r", "--", "no-such-command")
        self.assertEqual(finished.returncode, 127)
        self.assertIn("no-such-command", finished.stderr)

    def test_options_of_the_command_are_its_own(self):
        self.assertEqual(self.run_gordian("lock", "r", "--", "echo", "--mode", "-h", "--").stdout, "--mode -h --\n")

    def test_held_by_another(self):
        self.hold("r")
        at_once = self.run_gordian("lock", "r", "--wait", "0", "--", "true")
        self.assertEqual((at_once.returncode, at_once.stdout), (1, ""))
        self.assertIn("refused", at_once.stderr)
        in_time = self.run_gordian("lock", "r", "--wait", "100ms", "--", "true")
        self.assertEqual(in_time.returncode, 1)
        self.assertIn("timeout", in_time.stderr)

    def test_shared_locks_get_along(self):
        self.hold("r", "--mode", "S")
        self.assertEqual(self.run_gordian("lock", "r", "--mode", "S", "--wait", "0", "--", "true").returncode, 0)
        self.assertEqual(self.run_gordian("lock", "r", "--wait", "0", "--", "true").returncode, 1)

    def test_a_waiter_gets_it_when_the_holder_ends(self):
        holder = self.hold("r")
        waiter = self.start("lock", "r", "--", "echo", "mine")
        wait_until(lambda: self.held("r")[0]["waiters"], 5, "somebody waits")
        holder.send_signal(signal.SIGTERM)  # is passed on to the command
        self.assertEqual(holder.wait(5), 128 + signal.SIGTERM)
        self.assertEqual(waiter.communicate(timeout=5)[0], "mine\n")
        self.assertEqual(waiter.returncode, 0)

    def test_a_signal_withdraws_a_waiter(self):
        self.hold("r")
        waiter = self.start("lock", "r", "--", "true")
        wait_until(lambda: self.held("r")[0]["waiters"], 5, "somebody waits")
        waiter.send_signal(signal.SIGINT)
        self.assertEqual(waiter.wait(5), 1)
        self.assertEqual(self.held("r")[0]["waiters"], [])

    def test_the_command_gets_a_signal_when_the_lease_is_lost(self):
        holder = self.hold("r", "--ttl", "500ms", "--signal", "USR1")
        for agent in self.agents.values():
            agent.kill()
        self.assertEqual(holder.wait(10), 128 + signal.SIGUSR1)
        self.assertIn("is lost", holder.stderr.read())

    def test_the_command_ends_with_its_guard(self):
        holder = self.hold("r", "--ttl", "500ms")
        holder.kill()
        wait_until(lambda: not self.held("r"), 10, "the lease has run out")
        self.assertEqual(holder.stdout.read(), "")  # nobody has the pipe any more

    def test_bad_input(self):
        for arguments in (("lock", "r"), ("lock", "r", "--mode", "Q", "--", "true"), ("lock", "r", "--ttl", "soon", "--", "true"),
                          ("lock", "r", "--ttl", "1ms", "--", "true"), ("lock", "r", "--signal", "NONE", "--", "true"),
                          ("lock", "--", "true"), ("--agents", "nonsense", "locks"), ("lock", "n" * 1025, "--", "true")):
            finished = self.run_gordian(*arguments)
            self.assertEqual(finished.returncode, 2, (arguments, finished.stderr))
            self.assertTrue(finished.stderr.startswith("gordian: "), finished.stderr)

    def test_nobody_listens(self):
        away = self.environment | {"GORDIAN_AGENTS": "a=tcp://127.0.0.1:1"}
        self.assertEqual(self.run_gordian("--timeout", "200ms", "locks", env=away).returncode, 3)
        self.assertEqual(self.run_gordian("lock", "r", "--wait", "1s", "--", "true", env=away).returncode in (1, 3), True)


class ShowTest(LockCliCase):
    def test_who_holds_and_who_waits(self):
        self.hold("shared thing", "--mode", "S")
        self.start("lock", "shared thing", "--", "true")
        wait_until(lambda: self.held("shared thing")[0]["waiters"], 5, "somebody waits")
        resource = self.held("shared thing")[0]
        self.assertEqual([holder["mode"] for holder in resource["holders"]], ["S"])
        self.assertIn("gordian lock: sh", resource["holders"][0]["client"])
        self.assertEqual([waiter["mode"] for waiter in resource["waiters"]], ["X"])
        table = self.run_gordian("locks").stdout
        self.assertRegex(table, r"shared thing +held +S ")
        self.assertRegex(table, r"shared thing +waits +X ")
        tree = self.run_gordian("locks", "--tree").stdout.splitlines()
        self.assertEqual(len(tree), 2)
        self.assertRegex(tree[1], r"^  .* waits for shared thing \(X\) at [ab], for ")

    def test_selections(self):
        for name in ("one", "two", "three"):
            self.hold(name)
        self.assertEqual({name for _, name in self.locks()}, {"one", "two", "three"})
        self.assertEqual({name for _, name in self.locks("--resource", "two")}, {"two"})
        txn = self.held("two")[0]["holders"][0]["txn"]
        self.assertEqual({name for _, name in self.locks("--txn", txn)}, {"two"})
        self.assertEqual(self.run_gordian("locks", "--tree").stdout, "nobody waits\n")

    def test_an_agent_that_is_away_does_not_hide_the_others(self):
        self.hold("r")
        (site, _), = self.locks()
        other = next(name for name in self.sites if name != site)
        self.agents[other].kill()
        finished = self.run_gordian("--timeout", "2s", "locks")
        self.assertEqual(finished.returncode, 3)
        self.assertIn("held", finished.stdout)


class UnlockTest(LockCliCase):
    def test_by_force_with_a_reason(self):
        holder = self.hold("r")
        for refused in (("unlock", "r"), ("unlock", "r", "--force"), ("unlock", "r", "--why", "x")):
            self.assertEqual(self.run_gordian(*refused).returncode, 2)
        before = self.held("r")[0]["holders"][0]
        done = json.loads(self.run_gordian("unlock", "r", "--force", "--why", "it hangs", "--by", "tester", "--format", "json").stdout)
        self.assertEqual(done["aborted"], [before["txn"]])
        self.assertGreater((done["fence"]["epoch"], done["fence"]["counter"]), (before["fence"]["epoch"], before["fence"]["counter"]))
        self.assertEqual(holder.wait(5), 128 + signal.SIGTERM)
        self.assertIn("released by force by tester: it hangs", holder.stderr.read())
        audit = [record for site in json.loads(self.run_gordian("locks", "--audit", "--format", "json").stdout) for record in site["audit"]]
        self.assertEqual([(record["what"], record["why"], record["by"]) for record in audit], [("unlock --force r", "it hangs", "tester")])
        self.assertEqual(self.run_gordian("unlock", "r", "--force", "--why", "again").returncode, 1)

    def test_the_audit_survives_a_restart(self):
        self.hold("r")
        (site, _), = self.locks()
        self.assertEqual(self.run_gordian("unlock", "r", "--force", "--why", "it hangs").returncode, 0)
        self.agents[site].kill()
        endpoint = self.agents[site].endpoint
        self.agents[site] = self.stack.enter_context(LockAgent(site, self.folder / f"{site}.state", listen=endpoint))
        self.assertIn("it hangs", self.run_gordian("locks", "--audit").stdout)


if __name__ == "__main__":
    unittest.main()
