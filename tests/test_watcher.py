"""Level one: the watcher and the monitor, with semaphores raised by hand.  No root, no tracer."""

import subprocess

import pytest
from conftest import ROOT

# What the programs below begin with.  tools() is what sys.monitoring shows.
PRELUDE = """
import os, sys, threading, time
sys.path.insert(0, {tests!r})
import notes, pyusdt
def tools():
    return [sys.monitoring.get_tool(i) for i in range(6)]
def events():
    return {{i: sys.monitoring.get_events(i) for i in range(6) if sys.monitoring.get_tool(i)}}
def until(condition, what):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.001)
def traced(): return "pyusdt" in tools()
def idle(): return tools() == [None] * 6
E = sys.monitoring.events
"""


def run(python, code, *options, **env):
    program = PRELUDE.format(tests=str(ROOT / "tests")) + code
    done = python.run(*options, "-c", program, env=python.env(**env))
    assert done.returncode == 0, done.stderr
    return done


def test_import_changes_nothing(python):
    """No output, no descriptor, no signal handler, no thread a program could see, no tool id."""
    code = """
import os, signal, sys, threading
def look():
    handlers = [signal.getsignal(n) for n in signal.valid_signals()]
    tools = [sys.monitoring.get_tool(i) for i in range(6)]
    return (sorted(os.listdir("/proc/self/fd")), handlers, threading.enumerate(), tools,
            sys.gettrace(), sys.getprofile(), sys.getswitchinterval(), sys.getrecursionlimit(),
            signal.pthread_sigmask(signal.SIG_BLOCK, []), dict(os.environ))
before = look()
import pyusdt
assert look() == before
"""
    done = python.run("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_what_is_needed(python):
    """Events follow the semaphores exactly, and the tool id is given back."""
    run(
        python,
        """
assert idle()
def is_(mask): return list(events().values()) == [mask]
notes.raise_semaphore("PY_START"); until(lambda: is_(E.PY_START), "PY_START")
notes.raise_semaphore("LINE"); until(lambda: is_(E.PY_START | E.LINE), "and LINE")
notes.raise_semaphore("LINE"); notes.lower_semaphore("LINE")
notes.lower_semaphore("PY_START"); until(lambda: is_(E.LINE), "LINE alone")
assert "pyusdt" in (sys.monitoring.get_tool(3), sys.monitoring.get_tool(4))
notes.lower_semaphore("LINE"); until(idle, "nothing")
for probe in [p[0] for p in pyusdt.probes() if p[0] == p[1]]:
    event = "CALL" if probe.startswith("C_") else probe  # those three go together
    notes.raise_semaphore(probe); until(lambda: is_(getattr(E, event)), probe)
    notes.lower_semaphore(probe); until(idle, probe)
""",
    )


def test_callbacks_called_with_anything(python):
    """An extension fires events of what is no code; a program gets at a callback and calls it."""
    run(
        python,
        """
class Like:  # what is like code: nothing of it may be asked
    def no(self, *args): raise AssertionError
    __getattribute__ = __repr__ = __str__ = __index__ = __hash__ = __eq__ = no
def ran():
    return 1
code = ran.__code__
names = [p[0] for p in pyusdt.probes() if p[0] == p[1]]
for name, *_ in pyusdt.probes():
    notes.raise_semaphore(name)
until(lambda: events() and min(events().values()) & E.INSTRUCTION, "all")
ran()
tool = tools().index("pyusdt")
numbers = 0, -1, 7, 2**31 - 2, 2**31, -2**31, 2**63, -10**30, True, None, "2", Like()
for name in names:
    callback = sys.monitoring.register_callback(tool, getattr(E, name), None)
    assert callback() is None
    for first in code, Like(), Like, None, 3:
        assert callback(first) is None
        for number in numbers:
            assert callback(first, number) is None
            for value in numbers:
                assert callback(first, number, value) is None
                assert callback(first, number, value, Like()) is None
""",
    )


@pytest.mark.parametrize("msec", ["1", "50", "60000"])
def test_raised_before_import(python, msec):
    """A tracer that is there before the program is served at once, whatever the interval."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from pyusdt import libpyusdt
"""
    # start() is held back as the runner does it, the semaphore raised, then start().
    code = (
        'import sys; sys.argv = ["-m"]; sys.orig_argv = ["python", "-m", "pyusdt"]\n'
        + code
        + """
import notes
assert sys.monitoring.get_tool(4) is None
notes.raise_semaphore("PY_START")
libpyusdt.start()
assert sys.monitoring.get_tool(4) == "pyusdt"
libpyusdt.start()
"""
    )
    done = python.run("-c", code, env=python.env(PYUSDT_CHECK_MSEC=msec))
    assert done.returncode == 0, done.stderr


def test_disable(python):
    run(
        python,
        """
notes.raise_semaphore("PY_START")
time.sleep(0.2)  # many looks of the watcher, if there were one
assert idle()
assert len(os.listdir("/proc/self/task")) == 1
""",
        PYUSDT_DISABLE="1",
        PYUSDT_CHECK_MSEC="1",
    )


def test_verbose_says_what_the_peer_says(python):
    done = run(
        python,
        """
notes.raise_semaphore("PY_START"); until(traced, "on")
notes.lower_semaphore("PY_START"); until(idle, "off")
""",
        PYUSDT_VERBOSE="1",
    )
    assert done.stderr == (
        "pyusdt: ready (monitoring will enable when tracer attaches)\n"
        "pyusdt: monitoring enabled\npyusdt: monitoring disabled\n"
    )


def test_every_tool_id_taken(python):
    """One line, the program runs on, and tracing begins when an id is free."""
    done = run(
        python,
        """
for i in range(6): sys.monitoring.use_tool_id(i, "other")
notes.raise_semaphore("PY_START")
for _ in range(100): time.sleep(0.002)
assert tools() == ["other"] * 6
sys.monitoring.free_tool_id(1)
until(lambda: tools()[1] == "pyusdt", "a free id")
""",
        PYUSDT_CHECK_MSEC="5",
    )
    assert done.stderr.count("\n") == 1
    assert "every sys.monitoring tool id is taken" in done.stderr


def test_other_tools_are_left_alone(python):
    run(
        python,
        """
seen = []
for i in (3, 4):
    sys.monitoring.use_tool_id(i, "other")
    sys.monitoring.register_callback(i, E.PY_START, lambda code, offset: seen.append(code.co_name))
    sys.monitoring.set_events(i, E.PY_START)
def f(): pass
notes.raise_semaphore("PY_START"); until(traced, "on")
f(); assert seen.count("f") == 2
notes.lower_semaphore("PY_START"); until(lambda: not traced(), "off")
f(); assert seen.count("f") == 4
assert tools()[3:5] == ["other", "other"]
""",
    )


def test_tool_id_stolen(python):
    """A program that frees our id (none should) does not break the watcher."""
    run(
        python,
        """
notes.raise_semaphore("PY_START"); until(traced, "on")
sys.monitoring.set_events(4, 0); sys.monitoring.free_tool_id(4)
notes.raise_semaphore("LINE"); until(lambda: events().get(4) == E.PY_START | E.LINE, "again")
""",
        PYUSDT_CHECK_MSEC="5",
    )


def test_second_module_object(python):
    """A reload does not trace everything twice."""
    run(
        python,
        """
for name in [n for n in sys.modules if n.startswith("pyusdt")]: del sys.modules[name]
import pyusdt
notes.raise_semaphore("PY_START"); until(traced, "on")
time.sleep(0.05)
assert tools().count("pyusdt") == 1
""",
        PYUSDT_CHECK_MSEC="5",
    )


def test_busy_program(python):
    """A thread that never lets the GIL go by itself does not keep the watcher out."""
    run(
        python,
        """
notes.raise_semaphore("PY_RETURN")
end = time.monotonic() + 30
while not traced(): assert time.monotonic() < end
notes.lower_semaphore("PY_RETURN")
while not idle(): assert time.monotonic() < end
""",
    )


# ---- fork ----


def test_fork_does_not_warn(python):
    """os.fork() counts native threads: ours must not be among them, whatever other hooks
    of fork there are (logging has some)."""
    done = run(
        python,
        """
import logging
hooked = []
def hook():
    for i in range(100):
        hooked.append(str(i))
os.register_at_fork(before=hook, after_in_parent=hook, after_in_child=hook)
def forks(n):
    for i in range(n):
        pid = os.fork()
        if pid == 0: os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
forks(200)
until(lambda: len(os.listdir("/proc/self/task")) == 3, "watcher and listener")
forks(3)
notes.raise_semaphore("PY_START"); until(traced, "on")
forks(3)
assert len(hooked) == 206 * 200
until(lambda: len(os.listdir("/proc/self/task")) > 1, "the watcher is back")
""",
        "-W",
        "always",
    )
    assert done.stderr == ""


def test_fork_in_a_thread_while_main_is_blocked(python):
    """The watcher comes back although the main thread runs no bytecode."""
    run(
        python,
        """
def f():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
    notes.raise_semaphore("PY_START"); until(traced, "on")
t = threading.Thread(target=f); t.start(); t.join()
assert traced()
""",
        "-W",
        "ignore",
    )


def test_main_thread_waits_for_its_child(python):
    """The watcher comes back before the first call after os.fork(), which may last."""
    run(
        python,
        """
import logging  # with hooks of fork
born, ended = os.pipe(), os.pipe()
def look():
    os.read(born[0], 1)
    time.sleep(0.1)
    notes.raise_semaphore("PY_START"); until(traced, "on")
    os.write(ended[1], b"x")
look = threading.Thread(target=look); look.start()
pid = os.fork()
if pid == 0:
    os.write(born[1], b"x")
    os._exit(0 if os.read(ended[0], 1) == b"x" else 1)
assert os.waitpid(pid, 0)[1] == 0
look.join()
""",
        "-W",
        "ignore",
    )


def test_child_is_traceable(python):
    run(
        python,
        """
for generation in range(3):
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        if generation: os._exit(os.waitstatus_to_exitcode(status))
        assert status == 0
        break
    notes.raise_semaphore("PY_START"); until(traced, "child on")
    notes.lower_semaphore("PY_START"); until(idle, "child off")
else:
    os._exit(0)
assert idle()
notes.raise_semaphore("PY_START"); until(traced, "parent on")
pid = os.fork()
if pid == 0:
    assert traced()
    notes.lower_semaphore("PY_START"); until(idle, "child off")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert traced()
notes.lower_semaphore("PY_START"); until(idle, "parent off")
""",
        "-W",
        "error",
    )


def test_inherited_semaphore_is_not_believed_for_ever(python):
    """A count in memory that fork copied, and no breakpoint: nobody will lower it."""
    run(
        python,
        """
notes.raise_semaphore("PY_START"); notes.raise_semaphore("LINE"); until(traced, "on")
pid = os.fork()
if pid == 0:
    assert traced()
    until(idle, "nobody traces the child")
    notes.raise_semaphore("PY_START"); until(traced, "a tracer of the child's own")
    pid = os.fork()
    if pid == 0:
        until(idle, "nobody traces the grandchild")
        notes.lower_semaphore("PY_START"); notes.lower_semaphore("PY_START")
        time.sleep(0.2)  # 40 looks
        notes.raise_semaphore("PY_START"); until(traced, "counted from 0")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    notes.lower_semaphore("PY_START"); until(idle, "it has left")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
time.sleep(0.1)
assert traced(), "in the parent somebody will"
""",
        PYUSDT_CHECK_MSEC="5",
    )


def test_fork_in_threads_while_semaphores_change(python):
    run(
        python,
        """
stop = False
def flip():
    while not stop:
        notes.raise_semaphore("PY_START"); time.sleep(0.001)
        notes.lower_semaphore("PY_START"); time.sleep(0.001)
def forks():
    for _ in range(40):
        pid = os.fork()
        if pid == 0: os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        done.append(1)
done = []
flipper = threading.Thread(target=flip); flipper.start()
threads = [threading.Thread(target=forks) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
stop = True; flipper.join()
assert len(done) == 160
until(idle, "off")
""",
        "-W",
        "ignore",
        PYUSDT_CHECK_MSEC="1",
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(python, method, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, pyusdt
def work(n): return n * n
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(pool.map(work, range(5)))
"""
    )
    done = python.run("-W", "error", str(program))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1, 4, 9, 16]\n", "")


def test_subprocess_and_exec(python):
    run(
        python,
        """
import subprocess
notes.raise_semaphore("PY_START"); until(traced, "on")
for _ in range(20): subprocess.run(["true"], check=True)
subprocess.run(["true"], check=True, preexec_fn=lambda: None)
pid = os.fork()
if pid == 0: os.execvp(sys.executable, [sys.executable, "-c", "import pyusdt, sys; sys.exit(3)"])
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
""",
    )


def test_descriptors_closed_behind_our_back(python):
    """A program that closes all descriptors and uses the numbers again keeps its data."""
    run(
        python,
        """
time.sleep(2.5)  # the listener listens
os.closerange(3, 256)
pipes = [os.pipe() for _ in range(20)]
for r, w in pipes: os.write(w, b"mine")
for _ in range(20): open(pyusdt.lib).close()
time.sleep(0.1)
for r, w in pipes: assert os.read(r, 9) == b"mine"
notes.raise_semaphore("PY_START"); until(traced, "on")
""",
    )


# ---- exit ----

SHUTDOWNS = {
    "plain": "pass",
    "daemon threads": """
def spin():
    while True: sum(range(100))
for _ in range(4): threading.Thread(target=spin, daemon=True).start()
""",
    "raises in atexit": """
import atexit
def bad(): raise ValueError("expected")
atexit.register(bad)
""",
    "thread outlives main": """
threading.Thread(target=lambda: time.sleep(0.1)).start()
""",
    "os._exit": "os._exit(0)",
    "atexit traced": """
import atexit
def f(): return 1
atexit.register(f)
""",
    "objects at shutdown": """
class Late:
    def __del__(self): (lambda: None)()
keep = Late()
sys.late = keep
""",
    "fork-at-exit": """
import atexit
def f():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
atexit.register(f)
""",
    "atexit cleared": """
import atexit
atexit._clear()
""",
}


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("name", SHUTDOWNS)
def test_shutdown(python, name, raised):
    code = 'notes.raise_semaphore("PY_START"); notes.raise_semaphore("LINE"); until(traced, "on")'
    done = run(python, (code if raised else "") + "\n" + SHUTDOWNS[name], PYUSDT_CHECK_MSEC="1")
    assert done.stdout == ""
    plain = python.run("-c", "import os, sys, threading, time\n" + SHUTDOWNS[name])
    assert done.stderr.count("\n") == plain.stderr.count("\n")


def test_shutdown_is_repeatable(python):
    """The race between the watcher and the end of the interpreter, many times."""
    code = 'notes.raise_semaphore("PY_START")\nif len(sys.argv) > 1: until(traced, "on")'
    program = PRELUDE.format(tests=str(ROOT / "tests")) + code
    for i in range(40):
        done = subprocess.run(
            [python.path, "-c", program, *["x"] * (i % 2)],
            env=python.env(PYUSDT_CHECK_MSEC="1"),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_subinterpreters(python):
    """Each interpreter has events of its own, and may end while another goes on."""
    run(
        python,
        """
try:
    import _interpreters as interpreters
    create, destroy = interpreters.create, interpreters.destroy
except ImportError:
    import _xxsubinterpreters as interpreters
    create, destroy = interpreters.create, interpreters.destroy
def execute(i, code):
    failed = interpreters.run_string(i, code)
    assert failed is None, failed
ids = [create() for _ in range(3)]
inside = '''
import sys, time
sys.path.insert(0, %r)
import pyusdt
def traced(): return sys.monitoring.get_tool(4) == "pyusdt"
def until(wanted):
    end = time.monotonic() + 30
    while traced() != wanted:
        assert time.monotonic() < end
        time.sleep(0.001)
''' % os.path.dirname(os.path.dirname(pyusdt.__file__))
for i in ids: execute(i, inside)
notes.raise_semaphore("PY_START"); until(traced, "main on")
for i in ids: execute(i, "until(True)")
destroy(ids.pop())
notes.lower_semaphore("PY_START"); until(idle, "main off")
for i in ids: execute(i, "until(False)")
notes.raise_semaphore("PY_START")
for i in ids: destroy(i)
until(traced, "main on")
""",
        PYUSDT_CHECK_MSEC="1",
    )
