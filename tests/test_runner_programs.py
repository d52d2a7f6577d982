"""Programs of every kind, under python and under `python -m pyusdt`: the same."""

import pytest
from runner import same

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
    "exit in a function": (
        4,
        "import sys\ndef f(): sys.exit(4)\ntry:\n    f()\nfinally:\n    print('x')",
    ),
    "SystemExit": (0, "raise SystemExit"),
    "SystemExit subclass": (7, "class E(SystemExit): pass\nraise E(7)"),
    "SystemExit code": (9, "e = SystemExit(1)\ne.code = 9\nraise e"),
    "SystemExit group": (1, "raise BaseExceptionGroup('g', [SystemExit(3)])"),
    "os._exit": (5, "import os\nprint('lost')\nos._exit(5)"),
    "abort": (
        -6,
        "import os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.abort()",
    ),
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
    "signals": (
        0,
        "import signal\nfor s in signal.valid_signals(): print(s, signal.getsignal(s))\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    ),
    "interrupt and exit hook": (
        -2,
        "import atexit\natexit.register(print, 1)\nraise KeyboardInterrupt('x')",
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
    "exec": (
        6,
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(6)'])",
    ),
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
        "import atexit, sys\n"
        "atexit.register(lambda: print(repr(sys.last_exc), sys.last_traceback.tb_next))\n"
        "print(hasattr(sys, 'last_exc'), sys.exc_info())\n1 / 0",
    ),
    # __main__ and the interpreter's state.
    "main": (0, "def main(): print('main')\nif __name__ == '__main__':\n    main()"),
    "main replaced": (
        0,
        "import sys, types\nsys.modules['__main__'] = types.ModuleType('other')\nprint(__name__)",
    ),
    "main deleted": (0, "import sys\ndel sys.modules['__main__']\nprint(__name__)"),
    "globals cleared": (0, "globals().clear()"),
    "modules cleared": (0, "import sys\nsys.modules.clear()"),
    "flags broken": (
        0,
        "import os, sys\nsys.flags = None\nos.environ = None\nsys.exit = None\nprint('x')",
    ),
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
def profile(frame, event, arg):
    name = frame.f_code.co_name
    print(event, name, arg if name != "ident" else "a thread's")
sys.setprofile(profile)
f()
""",
    ),
    "run again": (
        0,
        "import runpy, sys\nif len(sys.argv) == 1:\n    sys.argv.append('x')\n"
        "    print(runpy.run_path(__file__, run_name='__main__')['x'], __name__)\nx = sys.argv",
    ),
    "import itself": (
        0,
        "import prog\nprint(prog.__name__, __name__, prog.__spec__.origin == __file__)",
    ),
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
    "garbage": (
        0,
        "import gc, weakref\nclass C: pass\nc = C()\nc.c = c\nr = weakref.ref(c)\n"
        "del c\ngc.collect()\nprint(r(), gc.garbage, gc.isenabled(), gc.get_threshold())",
    ),
    "frame kept": (
        1,
        "import sys\nsys.kept = sys._getframe()\n"
        "class C:\n    def __del__(self): print('gone')\nc = C()\n1 / 0",
    ),
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
        "import os\npid = os.fork()\n"
        "if pid: print(os.waitpid(pid, 0)[1])\nprint(pid > 0, flush=True)",
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
    "doctest": (
        0,
        '"""\n>>> f()\n1\n>>> f(2)\n"""\n'
        "def f(): return 1\nimport doctest\nprint(doctest.testmod())",
    ),
    "warnings": (
        0,
        "import warnings\ndef f():\n    warnings.warn('one', stacklevel=2)\nf()\nf()\n"
        "warnings.warn('two', DeprecationWarning)\nprint(list(__warningregistry__))",
    ),
    "logging": (
        0,
        "import logging\n"
        "form = '%(filename)s %(funcName)s %(lineno)d %(message)s %(stack_info)s'\n"
        "logging.basicConfig(format=form)\n"
        "def f(): logging.error('x', stack_info=True)\nf()",
    ),
    "argparse": (
        2,
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\np.parse_args()",
    ),
    "asyncio": (
        1,
        "import asyncio\n"
        "async def f():\n    await asyncio.sleep(0)\n    return 1 / 0\nasyncio.run(f())",
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


# Programs that notice whether threading, once imported, is shut down at the end.
SHUTDOWN_IS_SEEN = ("exit huge", "trace")


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(python, tmp_path, name):
    code, source = PROGRAMS[name]
    if name in SHUTDOWN_IS_SEEN and (3, 12, 3) <= python.version < (3, 13):
        source = "import threading\n" + source  # `python -m` imports it
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


@pytest.mark.parametrize(
    "kind", ["file", "link", "elsewhere", "module", "submodule"], indirect=True
)
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(python, kind, method):
    args, kwargs = kind(MULTIPROCESSING)
    got = same(python, *args, method, **kwargs)
    assert got.code == 0
    assert got.out.splitlines() == [b"[0, 2, 4, 6, 8]", b"8", b"ValueError(4)", b"1", b"3"]
