"""Writes the seeds of the fuzz targets into corpus/: tests/scenarios, the golden bytes of the wire's tests, and a few rows of choices.

    seeds.py        nothing else is touched: what a fuzzer found may lie beside them
"""
import hashlib
import pathlib
import random
import re

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
SCENARIO_BYTES_MAX = 2000


def write(target, inputs):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)


def golden_bytes():
    """String literals of hexadecimal digits that begin like a message: an array, version 1."""
    for path in sorted((TESTS / "unit").glob("*wire*_test.cpp")):
        for literals in re.findall(r'(?:"[0-9a-f]+"\s*)+', path.read_text()):
            digits = "".join(re.findall(r'"([0-9a-f]+)"', literals))
            if re.match(r"9.01|dc....01", digits) and len(digits) % 2 == 0:
                yield bytes.fromhex(digits)


def scenarios():
    for path in sorted((TESTS / "scenarios").glob("*.jsonl")):
        if path.stat().st_size <= SCENARIO_BYTES_MAX:
            yield path.read_bytes()


def choices(count, length, first=b""):
    source = random.Random(1)
    for _ in range(count):
        yield first + source.randbytes(length)


write("wire", golden_bytes())
write("trace", [*scenarios(), *choices(20, 120, b"\0")])
write("detector", choices(40, 200))
