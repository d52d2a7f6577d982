"""Values that other threads change while they are shown: it matters without a GIL.

On a free-threaded build (make test-free-threaded) the threads of programs/mutators.py
run at once; with the locks of src/text.c taken away that program crashes in every run.
On other builds they take turns, and nothing may be wrong either.
"""

import subprocess

from conftest import PROGRAMS, ROOT, tracer
from tracer import Bpftrace

MUTATORS = str(PROGRAMS / "mutators.py")
GIL = "getattr(sys, '_is_gil_enabled', lambda: True)()"


def test_import_leaves_the_gil_alone(python):
    """No GIL turned on and no RuntimeWarning, but on a free-threaded 3.13."""
    code = f"import sys; before = {GIL}; import pyusdt; print(before, {GIL})"
    if python.turns_gil_on:
        env = {k: v for k, v in python.env().items() if k != "PYTHON_GIL"}
        done = subprocess.run(
            [python.path, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert "RuntimeWarning: The global interpreter lock (GIL) has been enabled" in done.stderr
    else:
        done = python.run("-c", code)
        assert done.stdout in ("True True\n", "False False\n")
        assert done.stderr == ""


def test_every_probe(python):
    """All texts are made, for every probe, with no tracer in the way."""
    code = f"""
import runpy, sys, time
sys.path.insert(0, {str(ROOT / "tests")!r})
import notes, pyusdt
for name in [p[0] for p in pyusdt.probes()]:
    notes.raise_semaphore(name)
E = sys.monitoring.events
def all_on():
    tools = [i for i in range(6) if sys.monitoring.get_tool(i) == "pyusdt"]
    return tools and sys.monitoring.get_events(tools[0]) & E.INSTRUCTION
while not all_on():
    time.sleep(0.001)
runpy.run_path({MUTATORS!r})["run"](500)
"""
    done = python.run("-c", code, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")


@tracer
def test_traced(python):
    """No crash and no event lost."""
    rounds = 500
    script = "".join(
        f'usdt:"{python.lib}":pyusdt:{probe} /str(arg0) == "{function}"/ {{ @{name} = count(); }}\n'
        for name, probe, function in [
            ("raised", "RAISE", "raises"),
            ("unwound", "PY_UNWIND", "raises"),
            ("returned", "PY_RETURN", "returns"),
            ("yielded", "PY_YIELD", "yields"),
        ]
    )
    with Bpftrace(script) as trace:
        done = python.run("-m", "pyusdt", MUTATORS, str(rounds), timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert trace.map("@raised") == trace.map("@unwound") == 4 * rounds
    assert trace.map("@returned") == trace.map("@yielded") == 4 * rounds * 8
