"""Every tool by `pyusdt NAME -- program`, on the bpftrace that is installed."""

import pytest
from command import checked, run
from conftest import ROOT, tracer

NAMES = sorted(path.stem.removeprefix("py") for path in (ROOT / "tools").glob("py*.bt"))

# Of each tool: what some line of its json output must have in one of its fields.
SEEN = {
    "args": "a=19, b=2",
    "async": "holds",
    "calls": "add",
    "cfunc": "raises",
    "cpu": "spins",
    "exc": "raises",
    "faults": "touches",
    "flow": "add",
    "imports": "wave",
    "io": "writes",
    "lat": "add",
    "lines": "spins",
    "lock": "waits",
    "marks": "there",
    "offcpu": "sleeps",
    "slow": "sleeps",
    "syscalls": "writes",
    "threads": "waits",
}


def test_every_tool_is_run():
    assert set(NAMES) == set(SEEN) | {"gc"}


@tracer
@pytest.mark.parametrize("name", NAMES)
def test_tool(python, programs, name):
    """It ends with the program, has lost nothing, and has seen what the program did."""
    # Those that print every call would print thousands of an import's.
    only = ["--include", f"{programs}*"] if name in ("flow", "args") else []
    program = f"{programs}a_bit_of_all.py"
    done = run(python, name, "-f", "json", *only, "--", program, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    found = [one for one in checked(done.stdout) if one["type"] in ("row", "event", "histogram")]
    assert found
    wanted = SEEN.get(name, "")
    assert any(wanted in str(value) for one in found for value in one.values()), done.stdout
