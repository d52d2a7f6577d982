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
  - python before 3.14 forgets an unhandled KeyboardInterrupt, and exits with 1, when an
    atexit function calls exec() or eval() with text; here the process dies of
    SIGINT all the same (test_interrupt_and_exec);
  - a hook for audit events sees that `-m pyusdt` was run, first (test_audit).
"""

import dataclasses
import signal

import pytest
from conftest import PACKAGE_ROOT
from runner import FLAG_KINDS, KINDS, run, same

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
    # How deep lists can be compared, in hundreds: that runpy has run before saves
    # one call from C.  3.14 asks the stack pointer: never alike.
    if sys.version_info >= (3, 14):
        return 0
    low = 1
    while low < limit:
        middle = (low + limit) // 2
        one, two = [], []
        for _ in range(middle):
            one, two = [one], [two]
        try:
            one == two
            low = middle + 1
        except RecursionError:
            limit = middle
    return low // 100
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
    if name == "interrupt subclass" and python.version >= (3, 14):
        code = -signal.SIGINT
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
    "PYTHONPATH": [f"PYTHONPATH=one:{PACKAGE_ROOT}::two"],
    "no PYTHONDONTWRITEBYTECODE": ["PYTHONDONTWRITEBYTECODE="],
    "PYUSDT_DISABLE": ["PYUSDT_DISABLE=1"],
}


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
        assert (b"IndexError" in got.err) != (b"No module named prog" in got.err)


@pytest.mark.parametrize("kind", FLAG_KINDS, indirect=True)
@pytest.mark.parametrize("flag", ["-I", "-E"])
def test_isolated(python, kind, flag, tmp_path):
    # These make python ignore PYTHONPATH, so pyusdt must be installed: here by
    # a .pth file in a virtual environment.
    venv = tmp_path / "venv"
    code = "import sys, venv; venv.create(sys.argv[1], symlinks=True)"
    assert run(python, "-c", code, str(venv)).code == 0
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "checkout.pth").write_text(f"{PACKAGE_ROOT}\n")
    inside = dataclasses.replace(python, path=str(venv / "bin" / "python"))
    args, kwargs = kind(EVERYWHERE["globals"][1])
    got = same(inside, *args, flags=[flag], **kwargs)
    assert got.code == 0 or b"No module named prog" in got.err  # -I leaves out this directory


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
        [
            "-m",
            "pdb",
            "-c",
            "break f",
            "-c",
            "continue",
            "-c",
            "where",
            "-c",
            "continue",
            "prog.py",
        ],
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
        '"""\n>>> f(2)\n4\n"""\n'
        "import sys\ndef f(x):\n    return 2 * x\nprint(f(4), __name__, sys.argv)\n"
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


def test_interrupt_and_exec(python, tmp_path):
    (tmp_path / "prog.py").write_text(
        "import atexit\natexit.register(lambda: exec('print(1)'))\nraise KeyboardInterrupt('x')"
    )
    plain = run(python, "prog.py", cwd=tmp_path)
    ours = run(python, "-m", "pyusdt", "prog.py", cwd=tmp_path)
    assert ours == plain._replace(code=-signal.SIGINT)
    assert plain.code == (1 if python.version < (3, 14) else -signal.SIGINT)


@pytest.mark.parametrize("kind", FLAG_KINDS, indirect=True)
def test_no_other_modules(python, kind, tmp_path):
    args, kwargs = kind("import sys\nprint(*sys.modules)")
    (tmp_path / "work" / "listing.py").write_text("import sys\nprint(*sys.modules)")
    plain = (
        run(python, *args, **kwargs).out.split()
        + run(python, "-m", "listing", **kwargs).out.split()
    )
    ours = run(python, "-m", "pyusdt", *args, **kwargs).out.split()
    added = set(ours) - set(plain)
    assert added - {b"atexit"} == {b"pyusdt", b"pyusdt.run", b"pyusdt.libpyusdt"}


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
    path = f"{tmp_path}:{PACKAGE_ROOT}"
    for env, code in ({"PYTHONPATH": path}, 0), ({"PYTHONPATH": path, "FORBID": "1"}, 1):
        plain = run(python, *args, env=env, **kwargs)
        ours = run(python, "-m", "pyusdt", *args, env=env, **kwargs)
        first, _, rest = ours.out.partition(b"\n")
        assert first == b"cpython.run_module ('pyusdt',)"
        assert ours._replace(out=rest) == plain
        assert plain.code == code
