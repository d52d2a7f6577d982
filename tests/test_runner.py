"""A program run by `python -m pyusdt` does what it does under plain python.

Level one: no root, no tracer.  Nearly every test runs a small program twice,
as `python X` and as `python -m pyusdt X`, and wants the same standard output,
the same standard error and the same exit code (or signal), byte by byte.

What differs on purpose, and is tested as such:
  - the message for a script that cannot be opened begins with "pyusdt:"
    (test_cannot_open), and a missing program is an error, not a prompt;
  - sys.orig_argv tells the truth, so that a program which starts itself again
    by it is traced again (test_orig_argv);
  - sys.modules has pyusdt and what `python -m` itself imports
    (test_no_other_modules);
  - a hook for audit events sees that `-m pyusdt` was run, first (test_audit).
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT


class Outcome(NamedTuple):
    code: int
    out: bytes
    err: bytes


def outcome(done: subprocess.CompletedProcess) -> Outcome:
    """What is compared: all but addresses and times."""
    out, err = (
        re.sub(rb"\d+\.\d+( ?s\b| seconds)", rb"TIME\1", re.sub(rb"0x[0-9a-f]+", b"0xADDRESS", text))
        for text in (done.stdout or b"", done.stderr or b"")
    )
    return Outcome(done.returncode, out, err)


def run(python, *args, env=None, **kwargs) -> Outcome:
    env = python.env(PYTHONHASHSEED="0", **(env or {}))
    return outcome(python.run(*args, env=env, text=False, **kwargs))


def same(python, *args, flags=(), **kwargs) -> Outcome:
    """Runs it under python and under pyusdt: no difference.  Gives the outcome."""
    plain = run(python, *flags, *args, **kwargs)
    ours = run(python, *flags, "-m", "pyusdt", *args, **kwargs)
    assert ours == plain
    return plain


def one_line(err: bytes) -> bytes:
    """The one line that is all of standard error."""
    assert err.startswith(b"pyusdt: ") and err.endswith(b"\n") and err.count(b"\n") == 1, err
    return err


@pytest.fixture(autouse=True, scope="module")
def interruptible():
    """Programs started from a shell's background job would ignore SIGINT."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


# ---- every way to name a program ----

KINDS = {
    "file": ["prog.py"],
    "dot": ["./prog.py"],
    "dots": ["../work/./prog.py"],
    "absolute": ["{cwd}/prog.py"],
    "elsewhere": ["sub/prog.py"],
    "link": ["link.py"],
    "link elsewhere": ["sub/link.py"],
    "linked directory": ["linked/prog.py"],
    "no suffix": ["prog"],
    "after --": ["--", "prog.py"],
    "pyc": ["prog.pyc"],
    "directory": ["app"],
    "directory/": ["./app/"],
    "absolute directory": ["{cwd}/app"],
    "zip": ["app.zip"],
    "absolute zip": ["{cwd}/app.zip"],
    "module": ["-m", "prog"],
    "joined module": ["-mprog"],
    "package": ["-m", "package"],
    "submodule": ["-m", "package.sub"],
    "command": ["-c", "{source}"],
    "joined command": ["-c{source}"],
    "stdin": ["-"],
}


@pytest.fixture
def kind(request, python, tmp_path):
    """Called with a source: the arguments that run it in this way, and its stdin."""
    work = tmp_path / "work"

    def place(source: str):
        for path in ("prog.py", "prog", "sub/prog.py", "app/__main__.py"):
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(source)
        (work / "package").mkdir()
        (work / "package" / "__init__.py").write_text("")
        (work / "package" / "__main__.py").write_text(source)
        (work / "package" / "sub.py").write_text(source)
        (work / "link.py").symlink_to("sub/prog.py")
        (work / "sub" / "link.py").symlink_to("../prog.py")
        (work / "linked").symlink_to("sub")
        with zipfile.ZipFile(work / "app.zip", "w") as file:
            file.write(work / "app" / "__main__.py", "__main__.py")
        if request.param == "pyc":
            code = "import py_compile; py_compile.compile('prog.py', 'prog.pyc', doraise=True)"
            assert run(python, "-c", code, cwd=work).code == 0
        args = [
            word.replace("{cwd}", str(work)).replace("{source}", source)
            for word in KINDS[request.param]
        ]
        return args, {"cwd": work, "input": source.encode()}

    return place


# What every kind of program must find and do alike: exit code and source.
EVERYWHERE = {
    "globals": (
        0,
        """\
for name, value in list(globals().items()):
    print(name, repr(value))
import sys
import __main__
print(__main__.__dict__ is globals(), sys.modules["__main__"] is __main__)
print(type(__loader__), type(__main__))
print(sys.argv, sys.path, sys.flags, sys.executable, sys.prefix, sys.warnoptions, sep="\\n")
""",
    ),
    "annotations": (
        0,
        '''\
"""The document."""
from __future__ import annotations
import dataclasses, sys, typing
@dataclasses.dataclass
class Point:
    x: int
    y: list[Point] | None = None
size: int = 3
print(typing.get_type_hints(Point), typing.get_type_hints(sys.modules["__main__"]))
print(Point(1), Point.__module__, __doc__, list(globals()))
''',
    ),
    "no frames below": (
        0,
        """\
import faulthandler, inspect, sys, threading, tracemalloc, traceback, warnings
faulthandler.dump_traceback(all_threads=False)
traceback.print_stack()
print(len(inspect.stack()), [frame.f_code.co_name for frame in sys._current_frames().values()])
frame = sys._getframe()
while frame is not None:
    print(frame.f_code.co_name, frame.f_lineno)
    frame = frame.f_back
warnings.warn("far", stacklevel=9)
warnings.warn("near")
tracemalloc.start(20)
print(tracemalloc.get_object_traceback(object()))
tracemalloc.stop()
def f():
    traceback.print_stack()
    yield sys._getframe(20)
try:
    next(f())
except ValueError as error:
    print(error)
print(threading.enumerate() == [threading.main_thread()])
print([sys.monitoring.get_tool(i) for i in range(6)])
""",
    ),
    "recursion": (
        0,
        """\
import sys
def depth(n=0):
    try:
        return depth(n + 1)
    except RecursionError:
        return n
def nested(limit=15000):
    # How deep a list can be printed.  3.14 asks the stack pointer: never alike.
    if sys.version_info >= (3, 14):
        return 0
    low = 1
    while low < limit:
        middle = (low + limit) // 2
        value = []
        for _ in range(middle):
            value = [value]
        try:
            repr(value)
            low = middle + 1
        except RecursionError:
            limit = middle
    return low
print(depth(), nested())
for limit in 1, 2, 3, 5, 10:
    try:
        sys.setrecursionlimit(limit)
        sys.setrecursionlimit(1000)
    except RecursionError as error:
        print(error)
sys.setrecursionlimit(321)
print(depth(), nested())
sys.setrecursionlimit(3000)
print(depth(), nested())
""",
    ),
    "unhandled": (1, "def f():\n    return 1 / 0\nprint('before')\nf()\n"),
    "chained": (
        1,
        """\
def f():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("first") from error
try:
    f()
except ValueError:
    raise ExceptionGroup("several", [OSError(2, "no"), TypeError("bad")])
""",
    ),
    "syntax error": (1, "print('never')\nx = (1,\nif\n"),
    "syntax warning": (0, "x = 1\nprint(x is 1, '\\d')\n"),
    "exit 3": (3, "import sys\nprint('x', end='')\nsys.exit(3)\n"),
    "exit text": (1, "raise SystemExit('text')\n"),
    "interrupt": (-2, "print('x')\nraise KeyboardInterrupt\n"),
    "interrupt 2": (-2, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile 1: pass\n"),
    "interrupt subclass": (1, "class K(KeyboardInterrupt): pass\nraise K('x')\n"),
    "terminated": (-15, "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"),
    "at exit": (
        0,
        """\
import atexit, sys, weakref
class Late:
    def __del__(self):
        print("late", sys is not None, __name__)
        1 / 0
late = Late()
late.itself = late
other = Late()
weakref.finalize(other, print, "finalize")
@atexit.register
def bye():
    print("bye", list(globals()))
    [][1]
print("end")
""",
    ),
    "pickle": (
        0,
        """\
import pickle
class C:
    pass
def f(): pass
print(pickle.dumps([C, C(), f]), type(pickle.loads(pickle.dumps(C()))) is C)
""",
    ),
    "source": (
        0,
        """\
import inspect, linecache, warnings
def f(a):
    # A comment.
    return a
try:
    print(inspect.getsource(f))
except OSError as error:
    print(error)
print(inspect.getfile(f), inspect.getmodule(f), linecache.getline(f.__code__.co_filename, 2))
warnings.warn("seen with its line")
exec("def g(): 1 / 0\\ng()")
""",
    ),
}


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_everywhere(python, kind, name):
    code, source = EVERYWHERE[name]
    args, kwargs = kind(source)
    got = same(python, *args, "a", "", "-x", "--help", "--wait", "-m", **kwargs)
    if name == "source":
        code = 1
    assert got.code == code


FLAGS = {
    "-P": ["-P"],
    "-O": ["-O"],
    "-OO": ["-OO"],
    "-B": ["-B"],
    "-s": ["-s"],
    "-S": ["-S"],
    "-u": ["-u"],
    "-q": ["-q"],
    "-bb": ["-bb"],
    "-W error": ["-W", "error"],
    "-X utf8": ["-X", "utf8"],
    "-X dev": ["-X", "dev"],
    "-X frozen_modules=off": ["-X", "frozen_modules=off"],
    "-i": ["-i"],
    "PYTHONSAFEPATH": ["PYTHONSAFEPATH=1"],
    "PYTHONINSPECT": ["PYTHONINSPECT=1"],
    "PYTHONOPTIMIZE": ["PYTHONOPTIMIZE=1"],
    "PYTHONPATH": [f"PYTHONPATH=one:{ROOT}::two"],
    "no PYTHONDONTWRITEBYTECODE": ["PYTHONDONTWRITEBYTECODE="],
    "PYUSDT_DISABLE": ["PYUSDT_DISABLE=1"],
}
FLAG_KINDS = ["file", "elsewhere", "directory", "zip", "module", "command", "stdin"]


@pytest.mark.parametrize("kind", FLAG_KINDS, indirect=True)
@pytest.mark.parametrize("flag", FLAGS)
def test_flags(python, kind, flag, request):
    args, kwargs = kind("assert True, 'kept'\n" + EVERYWHERE["globals"][1] + "[][1]\n")
    words = FLAGS[flag]
    if words[0].startswith("-"):
        kwargs["flags"] = words
    else:
        kwargs["env"] = dict(word.split("=", 1) for word in words)
    if flag == "-i" and args == ["-"]:
        # python shows one prompt to the end of its input; here the program is
        # the first prompt and python's own, at the end of the input, a second.
        args = ["prog.py"]
    got = same(python, *args, **kwargs)
    if flag != "-i":
        assert got.code == 1
        assert b"IndexError" in got.err


@pytest.mark.parametrize("kind", FLAG_KINDS, indirect=True)
@pytest.mark.parametrize("flag", ["-I", "-E"])
def test_isolated(python, kind, flag, tmp_path):
    # These make python ignore PYTHONPATH, so pyusdt must be installed: here by
    # a .pth file in a virtual environment.
    venv = tmp_path / "venv"
    code = "import sys, venv; venv.create(sys.argv[1], symlinks=True)"
    assert run(python, "-c", code, str(venv)).code == 0
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "checkout.pth").write_text(f"{ROOT}\n")
    inside = type(python)(str(venv / "bin" / "python"), python.version, python.lib)
    args, kwargs = kind(EVERYWHERE["globals"][1])
    assert same(inside, *args, flags=[flag], **kwargs).code == 0


# ---- programs ----

# Exit code and source.
PROGRAMS = {
    # How it ends.
    "exit": (0, "import sys; sys.exit()"),
    "exit None": (0, "import sys; sys.exit(None)"),
    "exit 0": (0, "import sys; sys.exit(0)"),
    "exit 256": (0, "import sys; sys.exit(256)"),
    "exit -1": (255, "import sys; sys.exit(-1)"),
    "exit huge": (255, "import sys; sys.exit(1 << 70)"),
    "exit True": (1, "import sys; sys.exit(True)"),
    "exit object": (1, "import sys; sys.exit({'a': 1})"),
    "exit tuple": (1, "import sys; sys.exit((1, 2))"),
    "exit surrogate": (1, "import sys; sys.exit('\\udcff')"),
    "exit in a function": (4, "import sys\ndef f(): sys.exit(4)\ntry:\n    f()\nfinally:\n    print('x')"),
    "SystemExit": (0, "raise SystemExit"),
    "SystemExit subclass": (7, "class E(SystemExit): pass\nraise E(7)"),
    "SystemExit code": (9, "e = SystemExit(1)\ne.code = 9\nraise e"),
    "SystemExit group": (1, "raise BaseExceptionGroup('g', [SystemExit(3)])"),
    "os._exit": (5, "import os\nprint('lost')\nos._exit(5)"),
    "abort": (-6, "import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.abort()"),
    "segfault": (
        -11,
        "import os, resource, signal\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "os.kill(os.getpid(), signal.SIGSEGV)",
    ),
    "killed": (-9, "import os, signal\nprint('lost')\nos.kill(os.getpid(), signal.SIGKILL)"),
    "SIGINT ignored": (
        0,
        "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.kill(os.getpid(), signal.SIGINT)\nprint('alive')",
    ),
    "signals": (0, "import signal\nfor s in signal.valid_signals(): print(s, signal.getsignal(s))\n"
                   "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"),
    "interrupt and exit hook": (
        -2,
        "import atexit\natexit.register(lambda: exec('print(1)'))\nraise KeyboardInterrupt('x')",
    ),
    "interrupt in asyncio": (
        -2,
        """\
import asyncio, os, signal
async def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    finally:
        print("cancelled")
asyncio.run(main())
""",
    ),
    "interrupt with a hook": (
        -2,
        "import sys\nsys.excepthook = lambda *a: print('hook', a)\nraise KeyboardInterrupt",
    ),
    "exit in exit hook": (0, "import atexit, sys\natexit.register(lambda: sys.exit(3))"),
    "exec": (6, "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(6)'])"),
    "stdout closed": (1, "import sys\nsys.stdout.close()\nprint(1)"),
    "descriptor closed": (120, "import os\nprint('x')\nos.close(1)"),
    "stderr None": (1, "import sys\nsys.stderr = None\n1 / 0"),
    "stdout None": (0, "import sys\nsys.stdout = None\nprint('x')"),
    "flush fails": (
        120,
        "import sys\nclass Out:\n    closed = False\n    def write(self, s): pass\n"
        "    def flush(self): raise OSError('full')\nsys.stdout = Out()",
    ),
    # Exceptions.
    "exception": (1, "class E(Exception):\n    def __str__(self): return 'text'\nraise E"),
    "no text": (1, "class E(Exception):\n    def __str__(self): 1 / 0\nraise E"),
    "notes": (1, "e = ValueError(1)\ne.add_note('a note')\nraise e"),
    "long traceback": (1, "def f(): f()\nf()"),
    "traceback of a lambda": (1, "f = lambda a: a.b\nf(1)"),
    "name suggestion": (1, "import sys\nlenght = 1\nprint(length)"),
    "in a thread": (
        0,
        "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='T')\n"
        "t.start()\nt.join()\nprint('end')",
    ),
    "exit in a thread": (
        0,
        "import sys, threading\nt = threading.Thread(target=sys.exit, args=(3,))\nt.start()",
    ),
    "thread outlives": (
        0,
        """\
import threading
go = threading.Event()
def work():
    go.wait()
    threading.main_thread().join()
    print("work", threading.main_thread().is_alive())
threading.Thread(target=work).start()
go.set()
print("end")
""",
    ),
    "daemon thread": (
        0,
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "print('end')",
    ),
    "recursion in a thread": (
        0,
        """\
import threading
def depth(n=0):
    try:
        return depth(n + 1)
    except RecursionError:
        return n
t = threading.Thread(target=lambda: print(depth()))
t.start()
t.join()
""",
    ),
    "unraisable": (0, "class C:\n    def __del__(self): 1 / 0\nC()\nprint('end')"),
    "hook": (1, "import sys\nsys.excepthook = lambda *a: print('hook', a[:2])\n1 / 0"),
    "hook raises": (1, "import sys\ndef hook(*a): [][1]\nsys.excepthook = hook\n1 / 0"),
    "hook exits": (8, "import sys\ndef hook(*a): sys.exit(8)\nsys.excepthook = hook\n1 / 0"),
    "hook deleted": (1, "import sys\ndel sys.excepthook\n1 / 0"),
    "hook None": (1, "import sys\nsys.excepthook = None\n1 / 0"),
    "last exception": (
        1,
        "import atexit, sys\natexit.register(lambda: print(repr(sys.last_exc), sys.last_traceback.tb_next))\n"
        "print(hasattr(sys, 'last_exc'), sys.exc_info())\n1 / 0",
    ),
    # __main__ and the interpreter's state.
    "main": (0, "def main(): print('main')\nif __name__ == '__main__':\n    main()"),
    "main replaced": (0, "import sys, types\nsys.modules['__main__'] = types.ModuleType('other')\nprint(__name__)"),
    "main deleted": (0, "import sys\ndel sys.modules['__main__']\nprint(__name__)"),
    "globals cleared": (0, "globals().clear()"),
    "modules cleared": (0, "import sys\nsys.modules.clear()"),
    "flags broken": (1, "import os, sys\nsys.flags = None\nos.environ = None\nsys.exit = None\n1 / 0"),
    "sys.path broken": (1, "import sys\nsys.path = None\nimport nothing_such"),
    "builtins": (0, "import builtins\nprint(__builtins__ is builtins, len(dir(builtins)))"),
    "context": (0, "import contextvars\nprint(list(contextvars.copy_context()))"),
    "trace": (
        0,
        """\
import sys
def trace(frame, event, arg):
    print(event, frame.f_code.co_name, frame.f_lineno)
    return trace
sys.settrace(trace)
def f():
    return 1
f()
sys.settrace(None)
sys.setprofile(lambda frame, event, arg: print(event, frame.f_code.co_name, arg))
f()
""",
    ),
    "run again": (
        0,
        "import runpy, sys\nif len(sys.argv) == 1:\n    sys.argv.append('x')\n"
        "    print(runpy.run_path(__file__, run_name='__main__')['x'], __name__)\nx = sys.argv",
    ),
    "import itself": (0, "import prog\nprint(prog.__name__, __name__, prog.__spec__.origin == __file__)"),
    "ctypes callback": (
        0,
        """\
import ctypes, sys
@ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)
def back(n):
    frame = sys._getframe()
    while frame:
        print(frame.f_code.co_name)
        frame = frame.f_back
    return n
print(back(3))
""",
    ),
    "garbage": (0, "import gc, weakref\nclass C: pass\nc = C()\nc.c = c\nr = weakref.ref(c)\n"
                   "del c\ngc.collect()\nprint(r(), gc.garbage, gc.isenabled(), gc.get_threshold())"),
    "frame kept": (1, "import sys\nsys.kept = sys._getframe()\nclass C:\n    def __del__(self): print('gone')\nc = C()\n1 / 0"),
    # Processes.
    "fork": (
        0,
        """\
import os, sys
for ending in (lambda: sys.exit(3), lambda: 1 / 0, lambda: None, lambda: os._exit(4)):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        ending()
        print("child")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    ),
    "fork and fall off the end": (
        0,
        "import os\npid = os.fork()\nif pid: print(os.waitpid(pid, 0)[1])\nprint(pid > 0, flush=True)",
    ),
    "fork and interrupt": (
        0,
        """\
import os
pid = os.fork()
if not pid:
    raise KeyboardInterrupt
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    ),
    "subprocess": (
        0,
        "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(1)'], "
        "capture_output=True, text=True))",
    ),
    # The library.
    "unittest": (
        1,
        """\
import unittest
class Test(unittest.TestCase):
    def test_good(self):
        self.assertTrue(True)
    def test_bad(self):
        self.assertEqual(1, 2)
unittest.main()
""",
    ),
    "doctest": (0, '"""\n>>> f()\n1\n>>> f(2)\n"""\ndef f(): return 1\nimport doctest\nprint(doctest.testmod())'),
    "warnings": (
        0,
        "import warnings\ndef f():\n    warnings.warn('one', stacklevel=2)\nf()\nf()\n"
        "warnings.warn('two', DeprecationWarning)\nprint(list(__warningregistry__))",
    ),
    "logging": (
        0,
        "import logging\nlogging.basicConfig(format='%(filename)s %(funcName)s %(lineno)d %(message)s "
        "%(stack_info)s')\ndef f(): logging.error('x', stack_info=True)\nf()",
    ),
    "argparse": (2, "import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\np.parse_args()"),
    "asyncio": (
        1,
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 1 / 0\nasyncio.run(f())",
    ),
    "pdb": (1, "import pdb\nx = 1\npdb.set_trace()\nprint(x)"),
    "code": (0, "import code\ncode.interact(local={'x': 1})"),
    "profile": (
        0,
        """\
import cProfile, pstats
profile = cProfile.Profile()
def f(): return sorted([2, 1])
profile.runcall(f)
profile.run("f()")
for key, value in sorted(pstats.Stats(profile).stats.items()):
    print(key, value[:2])
""",
    ),
    "isolated modules": (0, "import sys\nprint('typing' in sys.modules, 're' in sys.modules)"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(python, tmp_path, name):
    code, source = PROGRAMS[name]
    (tmp_path / "prog.py").write_text(source)
    assert same(python, "prog.py", cwd=tmp_path, input=b"").code == code


@pytest.mark.parametrize("name", ["fork", "fork and fall off the end", "fork and interrupt"])
def test_fork_warns_of_nothing(python, tmp_path, name):
    # os.fork() warns of other threads.  Ours is none of the program's business.
    (tmp_path / "prog.py").write_text(PROGRAMS[name][1])
    assert same(python, "prog.py", flags=["-W", "error"], cwd=tmp_path).code == 0


MULTIPROCESSING = """\
import concurrent.futures, multiprocessing, sys
class Box:
    def __init__(self, value):
        self.value = value
def double(box):
    return Box(2 * box.value)
def fail(box):
    raise ValueError(box.value)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print([box.value for box in pool.map(double, map(Box, range(5)))])
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        print(pool.submit(double, Box(4)).result().value)
        print(repr(pool.submit(fail, Box(4)).exception()))
    for target, args in (fail, (Box(1),)), (sys.exit, (3,)):
        process = context.Process(target=target, args=args, name="P")
        process.start()
        process.join()
        print(process.exitcode)
"""


@pytest.mark.parametrize("kind", ["file", "link", "elsewhere", "module", "package"], indirect=True)
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(python, kind, method):
    args, kwargs = kind(MULTIPROCESSING)
    got = same(python, *args, method, **kwargs)
    assert got.code == 0
    assert got.out.splitlines() == [b"[0, 2, 4, 6, 8]", b"8", b"ValueError(4)", b"1", b"3"]


# ---- source text ----

SOURCES = {
    "empty": b"",
    "no newline": b"print(1)",
    "comment": b"# nothing",
    "BOM": b"\xef\xbb\xbfprint('\xc3\xa9')\n1/0\n",
    "CRLF": b"print('''a\r\nb''')\r\nif 1:\r\n    1/0\r\n",
    "CR": b"print(1)\rprint(2)\r1/0\r",
    "form feed": b"\x0cprint(1)\n\x0c1/0\n",
    "tabs": b"if 1:\n\tprint(1)\n        print(2)\n",
    "latin-1": b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\nraise ValueError('\xe9')\n",
    "second line cookie": b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\nprint(ascii('\x80'))\n",
    "utf-8": "größe = 'π'\nprint(größe)\nraise ValueError('π')\n".encode(),
    "not utf-8": b"print(1)\nx = '\xff\xfe'\n",
    "unknown coding": b"# coding: nosuch\nprint(1)\n",
    "wrong coding": b"\xef\xbb\xbf# coding: latin-1\nprint(1)\n",
    "null byte": b"print(1)\nx = 'a\x00b'\n",
    "null line": b"print(1)\n\x00\n",
    "binary": bytes(range(256)),
    "unexpected indent": b"print(1)\n  print(2)\n",
    "unterminated": b"print(1)\nx = '''abc\n",
    "return outside": b"def f():\n    pass\nreturn 1\n",
    "bad future": b"from __future__ import nothing\n",
    "nested": b"x = " + b"(" * 300 + b")" * 300 + b"\n",
    "deep": b"x = " + b"-" * 4000 + b"1\n",
    "long line": b"x = '" + b"a" * 100_000 + b"'\nprint(len(x))\n1/0\n",
    "pyc magic": b"\x00\x00\x00\x00\x00\x00\x00\x00",
    "zip comment": b"#!/bin/sh\nPK\x05\x06" + b"\x00" * 18,
}


@pytest.mark.parametrize("suffix", ["prog.py", "prog.pyc", "prog", "-"])
@pytest.mark.parametrize("name", SOURCES)
def test_source(python, tmp_path, name, suffix):
    (tmp_path / "prog.py").write_bytes(SOURCES[name])
    if suffix not in ("prog.py", "-"):
        (tmp_path / "prog.py").rename(tmp_path / suffix)
    same(python, suffix, cwd=tmp_path, input=SOURCES[name])


COMMANDS = {
    "empty": "",
    "blank": "  \n\t\n",
    "indented": "  import sys\n  if 1:\n    print(sys.argv)\n  def f():\n    1/0\n  f()",
    "indented by tabs": "\tprint(1)\n\tif 1:\n\t\tprint(2)",
    "indented otherwise": "\tprint(1)\n        print(2)",
    "indented text": "   x = '''a\n     b\n  \n   c\n\t\n   '''\n   print(repr(x))",
    "indented comment": "    print(1)\n # less\n    print(2)",
    "first line not": "print(1)\n  print(2)",
    "second line not": "  print(1)\nprint(2)",
    "line endings": "  print('''a\r\n  b\r  c''')\r\n  1/0",
    "form feed": " \x0c print(1)\n \x0c print(2)",
    "two functions": "def f():\n    g()\ndef g():\n    raise ValueError('x' +\n        'y')\nf()",
    "other string": "exec('\\n\\n1/0')",
    "cookie": "# coding: latin-1\nprint(ascii('é'))",
    "non-ASCII": "print('größe', ascii('π'))\nraise ValueError('π')",
    "undecodable": b"print('\xff')",
    "syntax error": "print(1)\nx = (",
    "syntax warning": "print(1 is 1)\ndef f():\n    return '\\d'",
    "future": "from __future__ import annotations\ndef f(x: y): pass\nprint(f.__annotations__)",
    "linecache": "import linecache\ndef f(): 1/0\nlinecache.clearcache()\nlinecache.checkcache()\nf()",
    "many lines": "\n" * 300 + "1/0",
    "dash": "-1",
}


@pytest.mark.parametrize("flags", [[], ["-W", "error"], ["-X", "utf8=0"]], ids=" ".join)
@pytest.mark.parametrize("name", COMMANDS)
def test_command(python, name, flags):
    same(python, "-c", COMMANDS[name], "-c", flags=flags)
    same(python, "-c", COMMANDS[name], flags=flags, env={"LC_ALL": "C"})


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("utf8", ["utf8=0", "utf8=1"])
@pytest.mark.parametrize(
    "name",
    [b"with space.py", b"quote'\".py", b"new\nline.py", "größe.py".encode(), b"\xff\xfe.py", b"%s{}.py"],
    ids=ascii,
)
def test_file_name(python, tmp_path, name, locale, utf8):
    directory = os.fsencode(tmp_path)
    source = "import sys\nprint(ascii([__file__, sys.argv, sys.path]))\ndef f(): 1/0\nf()\n"
    Path(os.fsdecode(directory + b"/" + name)).write_text(source)
    for path in name, directory + b"/" + name:
        got = same(
            python,
            path,
            name,
            b"\xff",
            "π",
            cwd=tmp_path,
            env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"},
            flags=["-X", utf8],
        )
        assert got.code == 1
    app = Path(os.fsdecode(directory + b"/d" + name))
    app.mkdir()
    (app / "__main__.py").write_text(source)
    assert same(python, app, cwd=tmp_path, flags=["-X", utf8], env={"LC_ALL": locale}).code == 1


# ---- what cannot be run ----


@pytest.mark.parametrize(
    "args",
    [
        ["-m", "nosuch"],
        ["-m", "nosuch.sub"],
        ["-m", "os.nosuch"],
        ["-m", "sys"],
        ["-m", "bare"],
        ["-m", "bare.nosuch"],
        ["-m", "broken"],
        ["-m", "failing"],
        ["-m", "failing.sub"],
        ["-m", "wrong"],
        ["-m", "prog.py"],
        ["-m", ".prog"],
        ["-m", "a b"],
        ["-m", ""],
        ["-m", "größe"],
        ["-m", b"\xff"],
        ["empty"],
        ["empty/"],
        ["empty.zip"],
        ["broken.zip"],
        ["bare"],
        [""],
        ["."],
    ],
    ids=ascii,
)
def test_no_main(python, tmp_path, args):
    for name, source in {
        "prog.py": "",
        "bare/__init__.py": "",
        "broken/__init__.py": "",
        "broken/__main__.py": "x = (",
        "failing/__init__.py": "1 / 0",
        "failing/sub.py": "",
        "wrong.py": "import nosuch",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    assert same(python, *args, cwd=tmp_path).code == 1


def cannot_open(python, *args, **kwargs):
    """The same as python's message, but for its beginning."""
    plain = run(python, *args, **kwargs)
    ours = run(python, "-m", "pyusdt", *args, **kwargs)
    assert (ours.code, ours.out) == (plain.code, plain.out) == (2, b"")
    path = os.fsencode(python.path)
    assert one_line(ours.err) == plain.err.replace(path + b":", b"pyusdt:", 1)
    return ours.err


@pytest.mark.parametrize(
    "name, why",
    [
        ("nosuch.py", "No such file"),
        ("./nosuch/../x.py", "No such file"),
        ("/nosuch.py", "No such file"),
        ("prog.py/x.py", "Not a directory"),
        ("loop.py", "Too many levels"),
        ("gone.py", "No such file"),
        ("x" * 300, "name too long"),
        ("socket", "No such device"),
        ("größe.py", "No such file"),
        (b"\xff.py", "No such file"),
    ],
    ids=ascii,
)
def test_cannot_open(python, tmp_path, name, why):
    import socket

    (tmp_path / "prog.py").write_text("")
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "gone.py").symlink_to("nothing")
    with socket.socket(socket.AF_UNIX) as listener:
        old = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket is short
        listener.bind("socket")
        os.chdir(old)
    assert why.encode() in cannot_open(python, name, "arg", cwd=tmp_path)
    # It is told before anybody waits.
    ours = run(python, "-m", "pyusdt", "--wait", name, cwd=tmp_path) if name != "socket" else None
    assert ours is None or why.encode() in one_line(ours.err)


def test_unreadable(python, tmp_path):
    (tmp_path / "prog.py").write_text("print(1)")
    (tmp_path / "prog.py").chmod(0)
    if os.access(tmp_path / "prog.py", os.R_OK):  # root may read everything
        assert same(python, "prog.py", cwd=tmp_path).code == 0
    else:
        assert b"Permission denied" in cannot_open(python, "prog.py", cwd=tmp_path)


def test_missing_then_prompt(python, tmp_path):
    ours = run(python, "-i", "-m", "pyusdt", "nosuch.py", cwd=tmp_path, input=b"print(6 * 7)\n")
    assert (ours.code, ours.out) == (0, b"42\n")
    assert ours.err.startswith(b"pyusdt: can't open file") and b"Traceback" not in ours.err


def test_deleted_directory(python, tmp_path):
    (tmp_path / "prog.py").write_text("import os, sys\nprint(sys.path, sys.argv, __file__)\n1 / 0")
    (tmp_path / "gone").mkdir()

    def inside(*args):
        script = 'cd gone && mkdir ../gone2 && mv ../gone2 . && rmdir gone2 ../gone && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", script, "sh", python.path, *args],
            cwd=tmp_path,
            env=python.env(),
            capture_output=True,
            check=False,
        )
        (tmp_path / "gone").mkdir()
        return outcome(done)

    for args in [str(tmp_path / "prog.py")], ["-c", "import sys; print(sys.path)"], ["-m", "this"]:
        assert inside("-m", "pyusdt", *args) == inside(*args)
    plain, ours = inside("prog.py"), inside("-m", "pyusdt", "prog.py")
    assert plain.code == ours.code == 2
    assert b"prog.py': [Errno 2] No such file" in one_line(ours.err)


# ---- where input and output go ----

OUTPUTS = {
    "nothing": "",
    "little": "print('x')",
    "much": "for i in range(1000): print('x' * 1000)",
    "exit 3": "import sys\nprint('x')\nsys.exit(3)",
    "exception": "print('x')\n1 / 0",
    "interrupt": "print('x')\nraise KeyboardInterrupt",
    "system": "import os\nos.write(1, b'x')",
    "error": "import sys\nsys.stderr.write('x')\nsys.exit('text')",
    "input": "print(input('prompt'))",
    "streams": "import sys\nfor s in sys.stdin, sys.stdout, sys.stderr:\n"
    "    print(s and (s.name, s.mode, s.encoding, s.errors, s.line_buffering), file=sys.stderr)",
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize(
    "redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "2>&1"]
)
def test_redirected(python, tmp_path, name, redirection):
    (tmp_path / "prog.py").write_text(OUTPUTS[name])

    def redirected(*args):
        command = ["sh", "-c", f'exec "$@" {redirection}', "sh", python.path, *args, "prog.py"]
        return outcome(
            subprocess.run(
                command,
                cwd=tmp_path,
                env=python.env(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        )

    assert redirected("-m", "pyusdt") == redirected()


@pytest.mark.parametrize("name", OUTPUTS)
def test_reader_has_gone(python, tmp_path, name):
    (tmp_path / "prog.py").write_text(OUTPUTS[name])

    def piped(*args):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as out:
            return outcome(
                subprocess.run(
                    [python.path, *args, "prog.py"],
                    cwd=tmp_path,
                    env=python.env(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.PIPE,
                    check=False,
                )
            )

    got = piped()
    assert piped("-m", "pyusdt") == got
    if name in ("little", "exit 3"):
        assert got.code == 120


@pytest.mark.parametrize("source", ["print('x')", "1 / 0", "x = (", ""])
def test_from_a_pipe(python, tmp_path, source):
    """A named pipe, as in `python <(program)`, can be opened once."""
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)

    def piped(*args):
        writer = threading.Thread(target=pipe.write_text, args=(source,))
        writer.start()
        got = run(python, *args, "pipe.py", cwd=tmp_path)
        writer.join()
        return got

    assert piped("-m", "pyusdt") == piped()
    same(python, "/dev/stdin", "x", input=source.encode())
    same(python, "-", "x", input=source.encode())


# ---- the prompt ----


@pytest.mark.parametrize("source", ["x = 6", "x = 6\n1 / 0", "x = 6\nraise SystemExit(3)", "x = ("])
@pytest.mark.parametrize("kind", ["file", "directory", "module", "command"], indirect=True)
def test_prompt(python, kind, source):
    args, kwargs = kind(source)
    typed = b"print(x * 7, __name__)\nimport sys; sys.last_exc\n1 / 0\ndef f(): 1 / 0\n\nf()\nexit(5)\n"
    got = same(python, *args, flags=["-i"], **{**kwargs, "input": typed})
    assert got.code == 5
    # Asked for by the environment only, there is no prompt without a terminal.
    for env in {"PYTHONINSPECT": "1"}, {"PYTHONINSPECT": ""}:
        same(python, *args, **{**kwargs, "input": typed, "env": env})


def test_prompt_by_the_program(python, tmp_path):
    """A program may ask for the prompt; at a terminal it gets it."""
    import pty

    (tmp_path / "prog.py").write_text("import os\nos.environ['PYTHONINSPECT'] = '1'\nx = 6\n1 / 0\n")

    def typed(*args):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [python.path, *args, "prog.py"],
            cwd=tmp_path,
            env={**python.env(), "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        os.write(ours, b"print(x * 7)\nexit(5)\n")
        out, err = process.communicate(timeout=60)
        os.close(ours)
        return process.returncode, out, err

    got = typed()
    assert got[0] == 5 and b"42" in got[1]
    assert typed("-m", "pyusdt") == got


# ---- modules that run programs ----


@pytest.mark.parametrize(
    "args",
    [
        ["-m", "unittest", "-v", "test_it"],
        ["-m", "unittest", "discover"],
        ["-m", "doctest", "-v", "prog.py"],
        ["-m", "timeit", "-n1", "-r1", "1 / 0"],
        ["-m", "timeit", "--help"],
        ["-m", "cProfile", "-o", "out", "prog.py", "a"],
        ["-m", "cProfile", "-o", "out", "-m", "prog", "a"],
        ["-m", "trace", "--listfuncs", "prog.py"],
        ["-m", "trace", "--trace", "prog.py"],
        ["-m", "pdb", "-c", "continue", "prog.py"],
        ["-m", "pdb", "-c", "break f", "-c", "continue", "-c", "where", "-c", "continue", "prog.py"],
        ["-m", "pdb", "-c", "continue", "-m", "prog"],
        ["-m", "runpy", "prog", "a"],
        ["-m", "dis", "prog.py"],
        ["-m", "ast", "prog.py"],
        ["-m", "tokenize", "prog.py"],
        ["-m", "inspect", "prog"],
        ["-m", "compileall", "-f", "prog.py"],
        ["-m", "py_compile", "prog.py"],
        ["-m", "json.tool"],
        ["-m", "code"],
        ["-m", "site"],
        ["-m", "sysconfig"],
        ["-m", "zipapp", "app", "-o", "new.pyz"],
        ["-m", "venv", "--help"],
        ["-m", "pyusdt", "prog.py"],
        ["-m", "this"],
        ["-m", "calendar", "2024"],
    ],
    ids=" ".join,
)
def test_module(python, tmp_path, args):
    (tmp_path / "prog.py").write_text(
        '"""\n>>> f(2)\n4\n"""\nimport sys\ndef f(x):\n    return 2 * x\nprint(f(4), __name__, sys.argv)\n'
    )
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("")
    (tmp_path / "test_it.py").write_text(
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): pass\n"
        "    def test2(self): self.assertTrue(0)\n"
    )
    same(python, *args, cwd=tmp_path, input=b"[1, 2]\n")


def test_profile_of_a_program(python, tmp_path):
    (tmp_path / "prog.py").write_text("def f(): return sorted([1])\nfor i in range(9): f()\n")
    code = (
        "import pstats\n"
        "for key, value in sorted(pstats.Stats('out').stats.items()):\n"
        "    print(key, value[:2], sorted(value[4]))"
    )
    profiles = []
    for args in [], ["-m", "pyusdt"]:
        assert run(python, *args, "-m", "cProfile", "-o", "out", "prog.py", cwd=tmp_path).code == 0
        profiles.append(run(python, "-c", code, cwd=tmp_path).out)
    assert b"prog.py" in profiles[0]
    assert profiles[0] == profiles[1]


# ---- what differs on purpose ----


def test_orig_argv(python, tmp_path):
    (tmp_path / "prog.py").write_text(
        "import os, sys\nprint(sys.argv, 'pyusdt' in sys.modules, flush=True)\n"
        "if not os.environ.get('AGAIN'):\n    os.environ['AGAIN'] = '1'\n"
        "    os.execv(sys.executable, sys.orig_argv)\n"
    )
    ours = run(python, "-m", "pyusdt", "prog.py", "a", cwd=tmp_path)
    assert ours == (0, b"['prog.py', 'a'] True\n" * 2, b"")


@pytest.mark.parametrize("kind", FLAG_KINDS, indirect=True)
def test_no_other_modules(python, kind, tmp_path):
    args, kwargs = kind("import sys\nprint(*sys.modules)")
    (tmp_path / "work" / "listing.py").write_text("import sys\nprint(*sys.modules)")
    plain = run(python, *args, **kwargs).out.split() + run(python, "-m", "listing", **kwargs).out.split()
    ours = run(python, "-m", "pyusdt", *args, **kwargs).out.split()
    assert set(ours) - set(plain) == {b"pyusdt", b"pyusdt.run", b"pyusdt.libpyusdt"}


@pytest.mark.parametrize("kind", FLAG_KINDS, indirect=True)
def test_audit(python, kind, tmp_path):
    args, kwargs = kind("print('ran')")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def hook(event, args):\n"
        "    if event.startswith('cpython.run_'):\n"
        "        print(event, args, flush=True)\n"
        "        if os.environ.get('FORBID') and args != ('pyusdt',):\n"
        "            raise PermissionError('no')\n"
        "sys.addaudithook(hook)\n"
    )
    path = f"{tmp_path}:{ROOT}"
    for env, code in ({"PYTHONPATH": path}, 0), ({"PYTHONPATH": path, "FORBID": "1"}, 1):
        plain = run(python, *args, env=env, **kwargs)
        ours = run(python, "-m", "pyusdt", *args, env=env, **kwargs)
        first, _, rest = ours.out.partition(b"\n")
        assert first == b"cpython.run_module ('pyusdt',)"
        assert ours._replace(out=rest) == plain
        assert plain.code == code


# ---- options ----


@pytest.mark.parametrize(
    "args, text",
    [
        ([], b"no script; type: python -m pyusdt script.py"),
        (["--"], b"no script; type: python -m pyusdt script.py"),
        (["--wait=1"], b"no script; type: python -m pyusdt script.py"),
        (["-m"], b"option -m needs a module"),
        (["-c"], b"option -c needs a command"),
        (["--nosuch", "prog.py"], b"unknown option --nosuch"),
        (["-x", "prog.py"], b"unknown option -x"),
        (["-i", "prog.py"], b"python's own go before -m pyusdt"),
        (["--wait=", "prog.py"], b"--wait=: give a number of seconds, such as --wait=10"),
        (["--wait=x", "prog.py"], b"give a number of seconds"),
        (["--wait=-1", "prog.py"], b"give a number of seconds"),
        (["--wait=nan", "prog.py"], b"give a number of seconds"),
        (["--wait=inf", "prog.py"], b"give a number of seconds"),
        (["--wait=1e99", "prog.py"], b"give a number of seconds"),
        (["--wait=1,5", "prog.py"], b"give a number of seconds"),
        (["--waiting", "prog.py"], b"unknown option --waiting"),
        (["--lib=x"], b"unknown option --lib=x"),
        ([b"--\xff"], b"unknown option --\\udcff"),
    ],
    ids=ascii,
)
def test_wrong_options(python, tmp_path, args, text):
    (tmp_path / "prog.py").write_text("print('never')")
    ours = run(python, "-m", "pyusdt", *args, cwd=tmp_path)
    assert (ours.code, ours.out) == (2, b"")
    assert text in one_line(ours.err)


def test_options(python, tmp_path):
    help_, h = (run(python, "-m", "pyusdt", word, "x") for word in ("--help", "-h"))
    assert help_ == h and help_.code == 0 and help_.err == b""
    for word in b"--wait", b"--lib", b"--version", b"-m module", b"-c command", b"PYUSDT_CHECK_MSEC":
        assert word in help_.out
    assert all(len(line) <= 80 for line in help_.out.splitlines())
    version = run(python, "-c", "import pyusdt; print('pyusdt', pyusdt.__version__)")
    assert run(python, "-m", "pyusdt", "--version") == version
    # Not by run(), which hides what looks like an address.
    lib = python.run("-m", "pyusdt", "--lib", cwd=tmp_path)
    assert (lib.returncode, lib.stdout, lib.stderr) == (0, f"{python.lib}\n", "")


def test_import_is_silent(python):
    assert run(python, "-W", "error", "-c", "import pyusdt; pyusdt.probes()") == (0, b"", b"")


@pytest.mark.parametrize("value", ["abc", "-1", "0", "1.5", " ", "1x", "99999999999999999999", "60001"])
@pytest.mark.parametrize("name", ["PYUSDT_CHECK_MSEC", "PYUSDT_VALUE_MAX"])
def test_bad_setting(python, tmp_path, name, value):
    (tmp_path / "prog.py").write_text("import sys\nprint('ran')\nsys.exit(3)")
    ours = run(python, "-m", "pyusdt", "prog.py", cwd=tmp_path, env={name: value})
    assert (ours.code, ours.out) == (3, b"ran\n")
    assert f"{name}={value}: ".encode() in one_line(ours.err)


def old_pythons():
    """Pythons before 3.12 in the usual places."""
    names = [f"python3.{minor}" for minor in range(6, 12)] + ["python3"]
    found = {shutil.which(name) for name in names} | {f"/usr/bin/{name}" for name in names}
    found |= set(map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3")))
    code = "import sys; sys.exit(sys.version_info >= (3, 12))"
    return sorted(
        path
        for path in found
        if path
        and os.path.exists(path)
        and subprocess.run([path, "-c", code], capture_output=True, check=False).returncode == 0
    )


def refused(command):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"run the program with CPython 3.12 or newer" in done.stderr
    return done.stderr


def test_old_python(tmp_path):
    """One line.  It is played on this Python, and tried on each old one there is."""
    (tmp_path / "prog.py").write_text("print('never')")
    play = "import sys; sys.version_info = (3, 11, 7, 'final', 0)"
    line = one_line(refused([sys.executable, "-c", f"{play}; sys.argv = ['-m']; import pyusdt"]))
    assert b"cpython 3.11;" in line
    assert b"\nImportError: pyusdt: " in refused([sys.executable, "-c", f"{play}; import pyusdt"])
    for python in old_pythons():
        assert python.encode() in one_line(refused([python, "-m", "pyusdt", tmp_path / "prog.py"]))
        assert b"\nImportError: pyusdt: " in refused([python, "-c", "import pyusdt"])


# ---- waiting for a tracer ----


def test_wait_in_vain(python, tmp_path):
    (tmp_path / "prog.py").write_text("import sys\nprint(sys.argv)\nsys.exit(3)")
    ours = run(python, "-m", "pyusdt", "--wait=0.3", "prog.py", "--wait", cwd=tmp_path)
    assert (ours.code, ours.out) == (3, b"['prog.py', '--wait']\n")
    first, second = ours.err.splitlines()
    assert re.fullmatch(rb"pyusdt: waiting for a tracer to attach to process \d+", first)
    assert re.fullmatch(rb"pyusdt: no tracer attached within TIME seconds; running without", second)


@pytest.mark.parametrize("option", ["--wait", "--wait=1000"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_wait_interrupted(python, tmp_path, option, number):
    (tmp_path / "prog.py").write_text("print('never')")
    process = subprocess.Popen(
        [python.path, "-m", "pyusdt", option, "prog.py"],
        cwd=tmp_path,
        env=python.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"waiting" in process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (-number, b"", b"")


def test_wait_without_stderr(python, tmp_path):
    (tmp_path / "prog.py").write_text("print('ran')")
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", python.path, "-m", "pyusdt", "--wait=0", "prog.py"]
    done = subprocess.run(command, cwd=tmp_path, env=python.env(), capture_output=True, check=False)
    assert outcome(done) == (0, b"ran\n", b"")
