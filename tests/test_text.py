"""Level one: the text of values (src/text.c) against the oracle's, without a tracer."""

import subprocess

import pytest
from conftest import PROGRAMS, ROOT

# Runs inside the interpreter under test: text.c is loaded as it is, by ctypes.
PROGRAM = """
import ctypes, os, runpy, sys
sys.path.insert(0, {tests!r})
import oracle
text = ctypes.PyDLL({library!r}).pyusdt_text
text.argtypes = [ctypes.py_object, ctypes.c_char_p, ctypes.c_size_t]
text.restype = None

def of(value, size):
    buffer = ctypes.create_string_buffer(b"\\xff" * (size + 8), size + 8)
    text(value, buffer, size)
    assert buffer.raw[size:] == b"\\xff" * 8, "written past the end"
    return buffer.value
"""


@pytest.fixture(scope="session")
def library(python, tmp_path_factory):
    """text.c as a shared object, its functions visible."""
    out = tmp_path_factory.mktemp("text") / "text.so"
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    include = python.run("-c", code).stdout.strip()
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra"]
        + ["-Werror", "-I", include, "-I", str(ROOT / "src"), str(ROOT / "src/text.c")]
        + ["-o", str(out), "-lm"],
        check=True,
    )
    return str(out)


def check(python, library, code):
    program = PROGRAM.format(tests=str(ROOT / "tests"), library=library) + code
    done = python.run("-c", program, str(PROGRAMS / "x.py"))
    assert done.returncode == 0, done.stderr


def test_values_at_every_size(python, library):
    """Every value of programs/values.py at every size from the smallest on."""
    check(
        python,
        library,
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
        assert of(value, size).decode() == oracle.text(value), (value, size)
""",
    )


def test_random_floats(python, library):
    """A float reads as repr() has it, whatever the locale."""
    check(
        python,
        library,
        """
import random, struct
random.seed(1)
for i in range(100_000):
    value = struct.unpack("<d", random.randbytes(8))[0] if i % 2 else random.uniform(-1e6, 1e6)
    got, expected = of(value, 64).decode(), repr(value)
    if got != expected:
        # Beside a power of two, repr() may know a shorter neighbour.
        assert float(got) == value and len(got) <= len(expected) + 1, (got, expected)
""",
    )


def test_every_character(python, library):
    check(
        python,
        library,
        """
for c in range(0x110000):
    value = chr(c)
    assert of(value, 32) == repr(value).encode(), hex(c)
""",
    )


def test_nothing_is_kept(python, library):
    """No reference is taken or dropped."""
    check(
        python,
        library,
        """
buffer = ctypes.create_string_buffer(64)
for value in (10**100, 1.5, "x" * 1000, [1], {"a": 1}, object(), lambda: 0, type("C", (), {})()):
    before = sys.getrefcount(value)
    for _ in range(100):
        text(value, buffer, 64)
    assert sys.getrefcount(value) == before
""",
    )
