"""Level one: the text of values (src/text.c) against the oracle's, without a tracer."""

from conftest import PROGRAMS, ROOT

# Runs inside the interpreter under test.
PROGRAM = """
import os, runpy, sys
sys.path[:0] = {paths!r}
import oracle
from textmodule import text
"""


def check(python, text_module, code):
    program = PROGRAM.format(paths=[str(ROOT / "tests"), text_module]) + code
    done = python.run("-c", program, str(PROGRAMS / "x.py"))
    assert done.returncode == 0, done.stderr


def test_values_at_every_size(python, text_module):
    """Every value of programs/values.py at every size from the smallest on."""
    check(
        python,
        text_module,
        f"""
seen = []
names = runpy.run_path({str(PROGRAMS / "values.py")!r}, {{}})
source = open({str(PROGRAMS / "values.py")!r}).read()
start = source.index("for value in (") + len("for value in ")
end = source.index("):  # fmt")
values = eval(source[start:end + 1], names)
assert len(values) > 120
for size in [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33, 64, 97, 128, 129, 1000, 4097]:
    oracle.VALUE_MAX = size - 1
    for value in values:
        assert text(value, size) == oracle.text(value), (value, size)
""",
    )


def test_random_floats(python, text_module):
    """A float reads as repr() has it, whatever the locale."""
    check(
        python,
        text_module,
        """
import random, struct
random.seed(1)
for i in range(100_000):
    value = struct.unpack("<d", random.randbytes(8))[0] if i % 2 else random.uniform(-1e6, 1e6)
    got, expected = text(value, 64), repr(value)
    if got != expected:
        # Beside a power of two, repr() may know a shorter neighbour.
        assert float(got) == value and len(got) <= len(expected) + 1, (got, expected)
""",
    )


def test_every_character(python, text_module):
    check(
        python,
        text_module,
        """
for c in range(0x110000):
    value = chr(c)
    assert text(value, 32) == repr(value), hex(c)
""",
    )


def test_nothing_is_kept(python, text_module):
    """No reference is taken or dropped."""
    check(
        python,
        text_module,
        """
for value in (10**100, 1.5, "x" * 1000, [1], {"a": 1}, object(), lambda: 0, type("C", (), {})()):
    before = sys.getrefcount(value)
    for _ in range(100):
        text(value, 64)
    assert sys.getrefcount(value) == before
""",
    )
