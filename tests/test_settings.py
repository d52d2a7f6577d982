"""Filters and other settings, from the environment, from within, and from outside."""

import importlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from fnmatch import fnmatchcase

import pytest
from conftest import ROOT, tracer, without_library
from test_probes import compare, run_with_oracle
from tracer import Bpftrace, events_script, parse_events

STARTS = {"PY_START", "PY_RESUME", "PY_THROW"}
ENDS = {"PY_RETURN", "PY_YIELD", "PY_UNWIND"}
FUNCTIONS = ["PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "PY_UNWIND", "PY_THROW"]
MORE = ["CALL", "LINE", "RAISE", "C_RETURN", "EXCEPTION_HANDLED"]


def selected(event, include, exclude, module):
    qualname, file = event
    names = [qualname, f"{module}.{qualname}", file]

    def any_of(patterns):
        return any(fnmatchcase(n, p.strip()) for n in names for p in patterns.split(",") if p)

    return (not include or any_of(include)) and not any_of(exclude)


# ---- filters ----


@tracer
@pytest.mark.parametrize(
    ("program", "include", "exclude"),
    [
        ("classes", "", "*.__init__"),
        ("classes", "__main__.*", "*.__*__"),
        ("generators", "*gen*,<module>", ""),
        ("exceptions", "", "<module>"),
        ("names", "*é*,?", ""),
        ("coroutines", "*", "[a-m]*"),
        ("exceptions", "*/no/such/file/*", ""),
        ("generators", "", "<frozen *>,*generators.py"),
    ],
)
def test_filters(python, program, include, exclude, programs, tmp_path):
    """Exactly the events of the functions that the patterns let through."""
    out = tmp_path / "oracle.json"
    fields = ["function", "file", "line", "qualname"]
    got, expected = run_with_oracle(
        python,
        program,
        FUNCTIONS + MORE,
        fields,
        programs,
        out,
        PYUSDT_INCLUDE=include,
        PYUSDT_EXCLUDE=exclude,
    )
    where = fields.index("qualname") + 1, fields.index("file") + 1
    for tid in list(expected):
        expected[tid] = [
            event
            for event in expected[tid]
            if selected((event[where[0]], event[where[1]]), include, exclude, "__main__")
        ]
        if not expected[tid]:
            del expected[tid]
    compare(got, expected)


@tracer
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pairs_when_filters_change(python, seed, programs):
    """Starts and ends of a frame alternate, whatever is changed in mid-run."""
    if python.is_free_threaded:
        pytest.skip("frames are not pinned there when filters change")
    script = events_script(python.lib, FUNCTIONS, ["qualname", "frame"], programs)
    with Bpftrace(script) as trace:
        process = subprocess.Popen(
            [python.path, "-m", "pyusdt", f"{programs}reconfigure.py", str(seed)],
            env=python.env(PYUSDT_CHECK_MSEC="5"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed, _ = process.communicate(timeout=120)
    assert (process.returncode, printed) == (0, "5\n")
    running: dict[int, str] = {}
    counts: Counter[str] = Counter()
    for event in parse_events(trace.output, ["qualname", "frame"], process.pid):
        frame, name = event["frame"], event["qualname"]
        counts[event["event"]] += 1
        if event["event"] in STARTS:
            assert frame not in running, f"{running.get(frame)} never ended before {name}"
            running[frame] = name
        else:
            assert running.pop(frame, None) == name, f"{event['event']} of {name} has no start"
    assert not running
    assert counts["PY_START"] > 50
    assert counts["PY_YIELD"] > 5
    assert counts["PY_UNWIND"] > 3


SPIN = """
import sys, time, pyusdt
def spin(): pass
def other(): pass
def main():
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            spin(); other()
        E = sys.monitoring.events
        for tool in range(6):
            if sys.monitoring.get_tool(tool) == "pyusdt":
                print(sys.monitoring.get_events(tool) == E.PY_START | E.PY_RETURN, flush=True)
                break
        else:
            print(None, flush=True)
main()
"""


class Spinner:
    """A process that calls spin() and other() as often as it is told."""

    def __init__(self, python, stack, **env):
        self.process = subprocess.Popen(
            [python.path, "-c", SPIN],
            env=python.env(**env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        assert self.process.stdout.readline() == "ready\n"

    def call(self, times):
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def configure(python, pid, **changes):
    """By pyusdt.control in another process, as the command does it."""
    code = (
        "import json, sys\nfrom pyusdt import control\n"
        "print(json.dumps(control.configure(int(sys.argv[1]), **json.loads(sys.argv[2]))))"
    )
    return python.run("-c", code, str(pid), json.dumps(changes), env=python.env(PYUSDT_DISABLE="1"))


@tracer
def test_configure_from_outside(python):
    """--exclude '*' silences a traced process, --exclude '' brings it back."""
    script = f"""usdt:"{python.lib}":pyusdt:PY_START /str(arg0) == "spin"/ {{ @ = count(); }}
usdt:"{python.lib}":pyusdt:PY_RETURN /str(arg0) == "other"/ {{ @o = count(); }}"""
    with ExitStack() as stack:
        spinner = Spinner(python, stack)
        with Bpftrace(script) as trace:
            while spinner.call(0) != "True":
                time.sleep(0.01)
            spinner.call(1000)
            done = configure(python, spinner.process.pid, exclude="*")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["exclude"] == "*"
            spinner.call(1000)
            done = configure(python, spinner.process.pid, exclude="")
            assert done.returncode == 0, done.stderr
            spinner.call(100)
            configure(python, spinner.process.pid, include="oth*", value_max=4096)
            spinner.call(10)
    assert (trace.map("@"), trace.map("@o")) == (1100, 1110)


@tracer
def test_excluded_stays_silent_for_the_next_tool_only_if_it_wants(python):
    """What was disabled for us is not disabled for another tool that gets our id."""
    code = """
import sys, time, pyusdt
sys.path.insert(0, sys.argv[1])
import notes
M = sys.monitoring
def f(): return 1
def until(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)
pyusdt.configure(exclude="*", check_msec=5)
notes.raise_semaphore("PY_START")
until(lambda: M.get_tool(4) == "pyusdt" and M.get_events(4))
f(); f()
notes.lower_semaphore("PY_START")
until(lambda: M.get_tool(4) is None)
seen = []
M.use_tool_id(4, "next")
M.register_callback(4, M.events.PY_START, lambda code, offset: seen.append(code.co_name))
M.set_events(4, M.events.PY_START)
f()
M.set_events(4, 0)
print(seen)
"""
    done = python.run("-c", code, str(ROOT / "tests"))
    assert (done.stdout, done.stderr) == ("['f']\n", "")


# ---- settings ----


def test_configure(python):
    code = """
import pyusdt
before = pyusdt.configure()
assert before == {'check_msec': 50, 'value_max': 128, 'slow_usec': 7, 'include': 'a*,b',
                  'exclude': ''}, before
after = pyusdt.configure(exclude='x.*', check_msec=10)
assert after == {**before, 'exclude': 'x.*', 'check_msec': 10}, after
assert pyusdt.configure() == after
for bad in ({'check_msec': 0}, {'value_max': 5000}, {'slow_usec': -1}, {'slow_usec': 10**30},
            {'include': 'x' * 2048}, {'exclude': 'a\\nb\\x01'}, {'exclude': 'a\\0b'},
            {'exclude': '\\udc80'}, {'value_max': 64, 'include': '\\x02'}):
    try:
        pyusdt.configure(**bad)
    except ValueError as error:
        assert '\\n' not in str(error)
    else:
        raise AssertionError(bad)
    assert pyusdt.configure() == after
for bad in ({'check_msec': '5'}, {'include': 3}):
    try:
        pyusdt.configure(**bad)
    except TypeError:
        pass
    else:
        raise AssertionError(bad)
assert not pyusdt.enabled('PY_START')
try:
    pyusdt.enabled('PY_STOP')
except ValueError as error:
    assert 'PY_STOP' in str(error)
"""
    env = {"PYUSDT_CHECK_MSEC": "50", "PYUSDT_SLOW_USEC": "7", "PYUSDT_INCLUDE": "a*,b"}
    for extra in {}, {"PYUSDT_DISABLE": "1"}:
        done = python.run("-c", code, env=python.env(**env, **extra))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bad_settings_are_told(python):
    env = python.env(PYUSDT_SLOW_USEC="soon", PYUSDT_EXCLUDE="x" * 3000)
    done = python.run("-c", "import pyusdt; print(pyusdt.configure()['slow_usec'])", env=env)
    assert done.stdout == "10000\n"
    assert done.stderr.splitlines() == [
        "pyusdt: PYUSDT_SLOW_USEC=soon: give a whole number from 0 to 3600000000; using 10000",
        "pyusdt: PYUSDT_EXCLUDE: the patterns are longer than 2047 bytes; using none",
    ]


def test_configure_what_cannot_be(python):
    """One line, and nothing is written."""
    with ExitStack() as stack:
        bare = subprocess.Popen(["sleep", "60"])
        stack.callback(bare.wait)
        stack.callback(bare.kill)
        disabled = Spinner(python, stack, PYUSDT_DISABLE="1")
        spinner = Spinner(python, stack)
        stopped = Spinner(python, stack)
        stopped.process.send_signal(signal.SIGSTOP)
        for pid, changes, words in [
            (stopped.process.pid, {"exclude": "*"}, "kill -CONT"),
            (bare.pid, {"exclude": "*"}, "has not loaded pyusdt"),
            (2**22 + 1, {"exclude": "*"}, "there is no process"),
            (disabled.process.pid, {"exclude": "*"}, "PYUSDT_DISABLE"),
            (spinner.process.pid, {"check_msec": 0}, "from 1 to 60000"),
            (spinner.process.pid, {"include": "x" * 2048}, "longer than"),
        ]:
            done = configure(python, pid, **changes)
            assert done.returncode != 0
            assert words in done.stderr.splitlines()[-1]


def test_configure_a_process_that_starts(python):
    """As soon as the library is there it takes settings, however early it is asked."""
    without_library()
    control = importlib.import_module("pyusdt.control")
    usual = {"check_msec": 100, "value_max": 128, "slow_usec": 10000, "include": "", "exclude": ""}
    for i in range(20):
        process = subprocess.Popen(
            [python.path, "-c", "import pyusdt; input()"], env=python.env(), stdin=subprocess.PIPE
        )
        try:
            found = None
            while found is None:
                try:
                    if i % 2:
                        found = control.configure(process.pid, exclude="*")
                    else:
                        found = control.settings(process.pid)
                except control.ProcessError as error:
                    assert "has not loaded pyusdt" in str(error)
            assert found == (usual | {"exclude": "*"} if i % 2 else usual)
        finally:
            process.kill()
            process.communicate()


def test_configure_by_another_user(python):
    """Whoever may not ptrace the process may not change it."""
    if os.geteuid() != 0:
        pytest.skip("it takes root to become another user")
    code = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from pyusdt import control\n"
        "try: control.configure(int(sys.argv[1]), exclude='*')\n"
        "except control.ProcessError as error: print(error)"
    )
    with ExitStack() as stack:
        spinner = Spinner(python, stack)
        done = python.run(
            "-c",
            "import sys; sys.dont_write_bytecode = True; import pyusdt.control\n" + code,
            str(spinner.process.pid),
        )
        assert "may not be" in done.stdout, done.stdout + done.stderr


def test_settings_reach_forked_children_and_interpreters(python):
    """A child has its parent's settings, and its own from then on."""
    code = """
import os, pyusdt
pyusdt.configure(exclude='parent*')
pid = os.fork()
if pid == 0:
    ok = pyusdt.configure()['exclude'] == 'parent*'
    ok = ok and pyusdt.configure(exclude='child')['exclude'] == 'child'
    os._exit(not ok)
assert os.waitpid(pid, 0)[1] == 0
print(pyusdt.configure()['exclude'])
"""
    done = python.run("-W", "error", "-c", code)
    assert (done.stdout, done.stderr) == ("parent*\n", "")
