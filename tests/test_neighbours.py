"""Other tools and libraries that look at frames and events: they and we live side by side."""

import json

import pytest
from conftest import needs_tracer
from tracer import Bpftrace, count_fib

pytestmark = needs_tracer

WORK = """
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def branch(x):
    if x:
        return 1
    return 2
print(fib(15), branch(1))
"""


@pytest.mark.parametrize("traced", [False, True])
def test_cprofile_inside(python, traced, tmp_path):
    script, out = tmp_path / "work.py", tmp_path / "out"
    script.write_text(WORK)
    plain = python.run("-m", "cProfile", "-o", str(out), str(script))
    read = "import pstats, sys; s = pstats.Stats(sys.argv[1]).stats\n" + (
        "print(sorted((k[2], v[0], v[1]) for k, v in s.items() if k[0] == sys.argv[2]))"
    )
    expected = python.run("-c", read, str(out), str(script)).stdout
    assert "('fib', 1, 1973)" in expected
    if traced:
        with Bpftrace(count_fib(f'"{python.lib}"')) as trace:
            done = python.run("-m", "pyusdt", "-m", "cProfile", "-o", str(out), str(script))
        assert trace.map() == 1973
    else:
        done = python.run("-m", "pyusdt", "-m", "cProfile", "-o", str(out), str(script))
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)
    assert python.run("-c", read, str(out), str(script)).stdout == expected


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage_inside(python, core, traced, tmp_path, neighbours):
    script = tmp_path / "work.py"
    script.write_text(WORK)
    env = python.env(COVERAGE_CORE=core)
    env["PYTHONPATH"] += ":" + neighbours
    run = ["-m", "coverage", "run", str(script)]

    def report():
        done = python.run("-m", "coverage", "json", "-q", "-o", "-", env=env, cwd=tmp_path)
        return json.loads(done.stdout)["files"]["work.py"]["executed_lines"]

    plain = python.run(*run, env=env, cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    expected = report()
    if traced:
        with Bpftrace(count_fib(f'"{python.lib}"')) as trace:
            done = python.run("-m", "pyusdt", *run, env=env, cwd=tmp_path)
        assert trace.map() == 1973
    else:
        done = python.run("-m", "pyusdt", *run, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)
    assert report() == expected == [2, 3, 4, 5, 7]


# ---- in one program with us ----

FIB = "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
# Each calls fib(15) once in every one of its tasks, and prints the results.
PROGRAMS = {
    "debugpy": (
        1,
        """
import debugpy
debugpy.listen(("127.0.0.1", 0))
debugpy.debug_this_thread()
print(fib(15), flush=True)
import os; os._exit(0)  # debugpy's threads and its adapter would outlive the test
""",
    ),
    "gevent": (
        4,
        """
import gevent.monkey; gevent.monkey.patch_all()
import gevent, time
def task(n):
    time.sleep(0.001 * n)
    return fib(15)
jobs = [gevent.spawn(task, n) for n in range(4)]
gevent.joinall(jobs)
print([job.value for job in jobs])
""",
    ),
    "uvloop": (
        4,
        """
import asyncio, uvloop
async def task(n):
    await asyncio.sleep(0.001 * n)
    return fib(15)
async def main():
    print(await asyncio.gather(*(task(n) for n in range(4))))
uvloop.run(main())
""",
    ),
    "settrace": (
        1,
        """
import sys
events = []
def trace(frame, event, arg):
    if frame.f_code.co_name == "fib": events.append(event)
    return trace
sys.settrace(trace)
fib(15)
sys.settrace(None)
print({name: events.count(name) for name in events})
""",
    ),
    "setprofile": (
        1,
        """
import sys
events = []
def profile(frame, event, arg):
    if frame.f_code.co_name == "fib": events.append(event)
sys.setprofile(profile)
fib(15)
sys.setprofile(None)
print({name: events.count(name) for name in events})
""",
    ),
    "every tool id taken after us": (
        1,
        """
import sys
free = [i for i in range(6) if sys.monitoring.get_tool(i) is None]
for i in free: sys.monitoring.use_tool_id(i, "other")
seen = []
for i in free:
    sys.monitoring.register_callback(i, sys.monitoring.events.PY_START, lambda c, o: seen.append(c))
    sys.monitoring.set_events(i, sys.monitoring.events.PY_START)
fib(15)
for i in free: sys.monitoring.free_tool_id(i)
print(len(seen) / len(free))
""",
    ),
}


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_in_one_program(python, name, traced, tmp_path, neighbours):
    tasks, source = PROGRAMS[name]
    script = tmp_path / "program.py"
    script.write_text(FIB + source)
    env = python.env(PYDEVD_DISABLE_FILE_VALIDATION="1")  # it warns, with times
    env["PYTHONPATH"] += ":" + neighbours
    plain = python.run(str(script), env=env)
    assert plain.returncode == 0, plain.stderr
    run = ["-m", "pyusdt", str(script)]
    if traced:
        with Bpftrace(count_fib(f'"{python.lib}"')) as trace:
            done = python.run(*run, env=env)
        assert trace.map() == tasks * 1973
    else:
        done = python.run(*run, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)
