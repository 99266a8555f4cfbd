"""`gordian sim` as a user runs it: GORDIAN is the program."""
import json
import os
import subprocess
import unittest

GORDIAN = os.environ["GORDIAN"]


def sim(*arguments):
    return subprocess.run([GORDIAN, "sim", *arguments], capture_output=True, text=True, timeout=120, check=False)


class Sim(unittest.TestCase):
    def test_one_run_is_the_same_in_every_process(self):
        # Each process has other addresses: what they decide, another hash would show.
        for seed in range(1, 9):
            with self.subTest(seed=seed):
                first, second = sim("--seed", str(seed)), sim("--seed", str(seed))
                self.assertEqual(first.returncode, 0, first.stdout[-2000:] + first.stderr)
                self.assertEqual(first.stdout, second.stdout)
                self.assertIn("hash", first.stdout.splitlines()[-1])

    def test_a_run_tells_when_and_who(self):
        line = json.loads(sim("--seed", "3", "--steps", "100", "--format", "json").stdout.splitlines()[0])
        self.assertEqual({"at_us", "step", "who", "what"}, set(line))

    def test_many_runs_are_summed_up(self):
        run = sim("--seeds", "1..8", "--jobs", "2", "--format", "json")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        told = json.loads(run.stdout)
        self.assertEqual([], told["failures"])
        self.assertEqual(8, sum(each["runs"] for each in told["faults"]))
        self.assertGreater(sum(each["deadlocks"] for each in told["faults"]), 0)
        table = sim("--seeds", "1..2").stdout.splitlines()
        self.assertEqual("faults", table[0].split()[0])
        self.assertEqual(["all", "2", "0"], table[-1].split()[:3])

    def test_what_makes_no_sense_is_told(self):
        for arguments, what in (((), "--seed"), (("--seed", "x"), "--seed"), (("--seeds", "9..1"), "--seeds"),
                                (("--seed", "1", "--faults", "none"), "calm"), (("--seed", "1", "--without", "rain"), "pauses"),
                                (("--seed", "1", "--coordinators", "0"), "--coordinators")):
            with self.subTest(arguments=arguments):
                run = sim(*arguments)
                self.assertEqual(run.returncode, 2)
                self.assertIn(what, run.stderr)


if __name__ == "__main__":
    unittest.main()
