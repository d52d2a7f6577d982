"""Real tracers come and go: what they count, what they leave behind, what they do not disturb."""

import os
import re
import subprocess
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager

import pytest
from conftest import PROGRAMS, ROOT, needs_tracer
from tracer import Bpftrace, count_fib, events_script, parse_events, version

pytestmark = needs_tracer

FIB = 21_891  # calls of fib() that fib(20) makes


@contextmanager
def running(python, code, *options, **env):
    """A program under pyusdt that answers each line it is sent: eval() or exec() of it."""
    program = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "tests")!r})
import pyusdt
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def tools(): return [sys.monitoring.get_tool(i) for i in range(6)]
def until(condition):
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end: return "never: " + repr(tools())
        time.sleep(0.001)
    return True
{code}
print("ready", flush=True)
for line in sys.stdin:
    try: answer = eval(line)
    except SyntaxError: answer = exec(line)
    print(repr(answer), flush=True)
"""
    process = subprocess.Popen(
        [python.path, *options, "-c", program],
        env=python.env(**env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"

    def ask(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().rstrip("\n")

    process.ask = ask
    try:
        yield process
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# ---- exact counts ----


@pytest.mark.parametrize("threads", [1, 4])
def test_attached_before_the_program(python, threads):
    with Bpftrace(count_fib(f'"{python.lib}"')) as trace:
        done = python.run("-m", "pyusdt", str(PROGRAMS / "fib.py"), str(threads))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert trace.map() == FIB * threads


@pytest.mark.parametrize("how", ["import", "-c", "-m"])
def test_every_way_to_run(python, how, tmp_path):
    code = "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(20)"
    (tmp_path / "prog.py").write_text(code)
    args = {
        "import": ["-c", "import pyusdt\n" + code],
        "-c": ["-m", "pyusdt", "-c", code],
        "-m": ["-m", "pyusdt", "-m", "prog"],
    }[how]
    with Bpftrace(count_fib(f'"{python.lib}"')) as trace:
        done = python.run(*args, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert trace.map() == FIB


def test_the_first_event_is_the_programs(python, tmp_path):
    """An attached tracer is served from the script's first line on, and not before."""
    script = tmp_path / "p.py"
    script.write_text("def first(): pass\nfirst()\n")
    fields = ["function", "file", "line"]
    with Bpftrace(events_script(python.lib, ["PY_START", "LINE"], fields, "")) as trace:
        process = subprocess.Popen([python.path, "-m", "pyusdt", str(script)], env=python.env())
        assert process.wait(60) == 0
    events = parse_events(trace.output, fields, process.pid)
    assert not [e for e in events if "pyusdt/" in e["file"]], "the runner traces itself"
    # Before the first line the interpreter itself makes a loader for __main__.
    events = [e for e in events if not e["file"].startswith("<frozen importlib")]
    seen = [(e["event"], e["function"], e["line"]) for e in events]
    assert seen[:5] == [
        ("PY_START", "<module>", 1),
        ("LINE", "<module>", 1),
        ("LINE", "<module>", 2),
        ("PY_START", "first", 1),
        ("LINE", "first", 1),
    ]


@pytest.mark.parametrize("form", ["-p", "proc"])
def test_running_process(python, form):
    with running(python, "") as process:
        pid = str(process.pid)
        script, options = {
            "-p": (count_fib(""), ["-p", pid]),
            "proc": (count_fib(f'"/proc/{pid}/root{python.lib}"'), []),
        }[form]
        with Bpftrace(script, *options) as trace:
            assert process.ask("until(lambda: 'pyusdt' in tools())") == "True"
            assert process.ask("fib(20)") == "6765"
        assert trace.map() == FIB
        assert process.ask("until(lambda: tools() == [None] * 6)") == "True"


@pytest.mark.parametrize("attempt", range(4))
def test_wait_misses_nothing(python, attempt):
    """--wait holds the program until a tracer attached by -p counts."""
    process = subprocess.Popen(
        [python.path, "-m", "pyusdt", "--wait=60", str(PROGRAMS / "fib.py")],
        env=python.env(),
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    assert line == f"pyusdt: waiting for a tracer to attach to process {process.pid}\n"
    with Bpftrace(count_fib(""), "-p", str(process.pid)) as trace:
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    process.stderr.close()
    assert trace.map() == FIB


def test_wait_is_for_every_probe_of_the_script(python):
    names = ["PY_START", "PY_RETURN", "CALL", "LINE", "PY_YIELD", "PY_RESUME"]
    script = "".join(f"usdt::pyusdt:{n} {{ @{n} = count(); }}\n" for n in names)
    counts = []
    for options in ([], ["--wait=60"]):
        process = (
            subprocess.Popen(
                [python.path, "-m", "pyusdt", *options, str(PROGRAMS / "generators.py")],
                env=python.env(),
                stderr=subprocess.PIPE,
                text=True,
            )
            if options
            else None
        )
        if process:
            process.stderr.readline()
            with Bpftrace(script, "-p", str(process.pid)) as trace:
                assert process.wait(60) == 0
            process.stderr.close()
        else:
            before = script.replace("usdt::", f'usdt:"{python.lib}":')
            with Bpftrace(before) as trace:
                done = python.run("-m", "pyusdt", str(PROGRAMS / "generators.py"))
                assert done.returncode == 0
        counts.append({n: trace.map(f"@{n}") for n in names})
    assert counts[0] == counts[1]
    assert all(counts[0].values())


# ---- frames ----


def test_frames_pair_up(python):
    """The same frame address from start to return of an activation, across yields."""
    fields = ["function", "frame"]
    names = ["PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD"]
    with Bpftrace(events_script(python.lib, names, fields, str(PROGRAMS))) as trace:
        process = subprocess.Popen(
            [python.path, "-m", "pyusdt", str(PROGRAMS / "generators.py")], env=python.env()
        )
        assert process.wait(60) == 0
    inside = {}  # frame -> function, of activations that run
    asleep = {}  # ... that have yielded
    count = 0
    for event in parse_events(trace.output, fields, process.pid):
        kind, frame, function = event["event"], event["frame"], event["function"]
        assert frame != 0
        if kind == "PY_START":
            inside[frame] = function
            asleep.pop(frame, None)
        elif kind == "PY_RESUME":
            assert asleep.pop(frame) == function
            inside[frame] = function
        else:
            # PY_THROW is not traced here: it, too, wakes up a generator.
            assert (inside.pop(frame, None) or asleep.pop(frame)) == function
            if kind == "PY_YIELD":
                asleep[frame] = function
            count += 1
    assert count > 20


def test_frames_count_recursion(python):
    """Keyed by frame, every start has its return, in threads too: nothing is left over."""
    r9 = 'reg("r9")' if version() < (0, 27, 0) and os.uname().machine == "x86_64" else "arg7"
    script = f"""
usdt:"{python.lib}":pyusdt:PY_START /str(arg0) == "fib"/ {{ @open[tid, {r9}] = 1; @n = count(); }}
usdt:"{python.lib}":pyusdt:PY_RETURN /@open[tid, {r9}]/ {{
    delete(@open[tid, {r9}]); @done = count(); }}
"""
    with Bpftrace(script) as trace:
        assert python.run("-m", "pyusdt", str(PROGRAMS / "fib.py"), "4").returncode == 0
    assert trace.map("@n") == trace.map("@done") == FIB * 4
    assert not [line for line in trace.lines if line.startswith("@open[")]


# ---- coming and going ----


def test_nothing_is_left_behind(python):
    """After the tracer leaves, however it leaves, no tool id is held and no event is on."""
    with running(python, "") as process:
        for leave in ("stop", "kill", "stop"):
            trace = Bpftrace(count_fib(f'"{python.lib}"'))
            with trace:
                assert process.ask("until(lambda: 'pyusdt' in tools())") == "True"
                if leave == "kill":
                    trace.kill()
            assert process.ask("until(lambda: tools() == [None] * 6)") == "True"
            events = "[sys.monitoring.get_local_events, sum(1 for t in tools() if t)][1]"
            assert process.ask(events) == "0"


def test_two_tracers(python):
    with running(python, "") as process:
        starts = f'usdt:"{python.lib}":pyusdt:PY_START /str(arg0) == "fib"/ {{ @ = count(); }}'
        returns = f'usdt:"{python.lib}":pyusdt:PY_RETURN /str(arg0) == "fib"/ {{ @ = count(); }}'
        mask = "[sys.monitoring.get_events(i) for i in range(6) if tools()[i]]"
        event = "sys.monitoring.events"
        with Bpftrace(starts) as one:
            both = f"until(lambda: {mask} == [{event}.PY_START | {event}.PY_RETURN])"
            with Bpftrace(returns) as two:
                assert process.ask(both) == "True"
                assert process.ask("fib(10)") == "55"
            assert process.ask(f"until(lambda: {mask} == [{event}.PY_START])") == "True"
            assert process.ask("fib(10)") == "55"
        assert process.ask("until(lambda: tools() == [None] * 6)") == "True"
    assert (one.map(), two.map()) == (2 * 177, 177)


def test_forked_children_are_counted(python):
    code = """
def children():
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            fib(10); os._exit(0)
        os.waitpid(pid, 0)
"""
    with running(python, code) as process, Bpftrace(count_fib(f'"{python.lib}"')) as trace:
        assert process.ask("until(lambda: 'pyusdt' in tools())") == "True"
        assert process.ask("children()") == "None"
        trace.stop()
        assert trace.map() == 5 * 177


SUBINTERPRETERS = """
import threading, pyusdt
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
import sys
sys.path.insert(0, %r)
import pyusdt
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
fib(15)
''' % pyusdt.__file__.rpartition("/pyusdt/")[0]
failed = []
def one():
    i = interpreters.create()
    failed.append(interpreters.run_string(i, code))
    interpreters.destroy(i)
threads = [threading.Thread(target=one) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
print(failed)
"""


def test_subinterpreters_are_counted(python):
    """Three at a time, each with a GIL of its own."""
    with Bpftrace(count_fib(f'"{python.lib}"')) as trace:
        done = python.run("-m", "pyusdt", "-c", SUBINTERPRETERS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[None, None, None]\n", "")
    assert trace.map() == 3 * 1973


def test_fork_while_traced_does_not_warn(python):
    script = "import os, sys\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)\n"
    with Bpftrace(count_fib(f'"{python.lib}"')):
        done = python.run("-W", "always", "-c", "import pyusdt, time; time.sleep(3)\n" + script)
    assert (done.returncode, done.stderr) == (0, "")


# ---- idle ----


def test_idle_never_takes_the_gil(python):
    """Ten seconds of looking at semaphores every millisecond: no Python call by our threads."""
    code = "import sysconfig; print(sysconfig.get_config_var('INSTSONAME') or '')"
    maps = "print(open('/proc/self/maps').read())"
    soname = python.run("-c", code).stdout.strip()
    mapped = python.run("-c", maps).stdout
    found = (
        re.search(rf"(/\S*{re.escape(soname)})$", mapped, re.MULTILINE) if ".so" in soname else None
    )
    binary = found[1] if found else os.path.realpath(python.path)
    if not found:
        binary = re.search(r"(/\S+)$", mapped, re.MULTILINE)[1]
    with running(python, "", PYUSDT_CHECK_MSEC="1") as process, ExitStack() as stack:
        ours = f'/pid == {process.pid} && (comm == "pyusdt" || comm == "pyusdt-listener")/'
        script = f"""
uprobe:"{binary}":PyEval_RestoreThread {ours} {{ @gil = count(); }}
uprobe:"{binary}":PyThreadState_New {ours} {{ @state = count(); }}
"""
        trace = stack.enter_context(Bpftrace(script))
        time.sleep(10)
        # The probes do work: a tracer comes, and the watcher takes the GIL to serve it.
        trace.lines.append("IDLE-IS-OVER")
        process.ask("__import__('notes').raise_semaphore('PY_START')")
        assert process.ask("until(lambda: 'pyusdt' in tools())") == "True"
        process.ask("__import__('notes').lower_semaphore('PY_START')")
        assert process.ask("until(lambda: tools() == [None] * 6)") == "True"
    # Taken twice, once to begin and once to end; not once in the ten seconds before.
    assert (trace.map("@gil"), trace.map("@state")) == (2, 2)


# ---- the program does not notice ----


def test_results_do_not_change(python):
    """Output, errors and exit codes are those of an untraced run, every probe attached."""
    script = "".join(
        f'usdt:"{python.lib}":pyusdt:{n} {{ @{n} = count(); }}\n'
        for n in [*python.probes, *python.others]
    )
    programs = {
        "recursion": "def f(n): return f(n + 1)\ntry: f(0)\nexcept RecursionError: print('deep')",
        "depth": "n = 0\ndef f():\n global n\n n += 1\n f()\n"
        "try: f()\nexcept RecursionError: print(n)",
        "traceback": "def f(): return 1 / 0\ndef g(): return f()\ng()",
        "exit": "import sys\nsys.exit(3)",
        "refcount": "import sys\nx = object()\ndef f(v): return v\n"
        "for _ in range(99): f(x)\nprint(sys.getrefcount(x))",
        "lifetime": "import weakref\nclass C: pass\ndef f(): return C()\n"
        "r = weakref.ref(f())\nprint(r())",
        "weak": "import weakref\nclass C: pass\ndef f(c): yield c; raise ValueError(c)\n"
        "c = C(); r = weakref.ref(c, lambda r: print('gone'))\n"
        "try: print(list(f(c)))\nexcept ValueError as e: print(e.args[0] is c)\n"
        "print(r() is c)\ndel c\nprint(r())",
        "pending": "import sys\ndef g(): print(sys.exception())\n"
        "def f():\n try: 1 / 0\n finally: g()\n"
        "try: f()\nexcept ZeroDivisionError as e: print(e, e.__traceback__.tb_lineno)",
        "counts": "import sys\ndef f(x): return x\nx = [object()]\n"
        "for _ in range(9): f(x)\nprint(sys.getrefcount(x), sys.getrefcount(x[0]))",
        "generator": "def g():\n try: yield 1\n finally: print('closed')\nnext(g())\nprint('end')",
    }
    results = defaultdict(list)
    for name, code in programs.items():
        results[name].append(python.run("-m", "pyusdt", "-c", code))
    with Bpftrace(script) as trace:
        for name, code in programs.items():
            results[name].append(python.run("-m", "pyusdt", "-c", code))
    for probe in "PY_START", "PY_RETURN", "RAISE", "CALL", "LINE":
        assert trace.map(f"@{probe}") > 0
    for untraced, traced in results.values():
        assert (traced.returncode, traced.stdout, traced.stderr) == (
            untraced.returncode,
            untraced.stdout,
            untraced.stderr,
        )
