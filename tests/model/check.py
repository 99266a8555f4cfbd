"""Checks docs/model/coordinators.pml with Spin: exhaustively that it is right, or that a broken variant is found out.

    check.py [--breaks PROPERTY] [--keep FOLDER] [-DNAME[=VALUE]...]

Exit code 0: as expected. A search that is not exhaustive (memory, depth) is never as expected. --keep leaves Spin's
files there, to replay an error.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

MODEL = pathlib.Path(__file__).resolve().parents[2] / "docs/model/coordinators.pml"
MEMORY_MB_MAX = 1500
DEPTH_MAX = 10_000

# What pan says when it is the named property that does not hold.
PROPERTIES = {
    "phantom": r"assertion violated real\[x\]",
    "wait": r"assertion violated \(\(\(report.*since",
    "second victim": r"assertion violated .*aborted_waits\[j\]",
    "miss": r"assertion violated +!\(\(+0>=",
    "nobody aborted": r"assertion violated 0",
    "nothing resolved": r"assertion violated +!\(aborted_waits\[0\]\)",
}


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0 and command[0] != "./pan":
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def explore(defines, folder):
    run(["spin", "-a", *defines, str(MODEL)], folder)
    run(["gcc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={MEMORY_MB_MAX}", "-o", "pan", "pan.c"], folder)
    return run(["./pan", f"-m{DEPTH_MAX}"], folder)


def problem(said, breaks):
    """What is not as expected; None if all is well."""
    if "max search depth too small" in said or "reached the memory limit" in said or "out of memory" in said:
        return "the search is not exhaustive"
    errors = re.search(r"errors: (\d+)", said)
    if not errors:
        return "pan did not come to an end"
    if breaks is None:
        return None if errors[1] == "0" else "the model is wrong"
    if errors[1] == "0":
        return f"this variant is broken, and Spin did not see it: expected '{breaks}' not to hold"
    return None if re.search(PROPERTIES[breaks], said) else f"another property than '{breaks}' does not hold"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--breaks", choices=PROPERTIES)
    options.add_argument("--keep", metavar="FOLDER")
    known, defines = options.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = known.keep or temporary
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        said = explore(defines, folder)
        wrong = problem(said, known.breaks)
        states = re.search(r"(\d+) states, stored", said)
        memory = re.search(r"([\d.]+)\s+total actual memory", said)
        print(f"{' '.join(defines)}: {states and states[1]} states, {memory and memory[1]} MB,"
              f" {time.monotonic() - began:.1f} s with compiling")
        if wrong:
            sys.exit(f"{wrong}\n{said}")


if __name__ == "__main__":
    main()
