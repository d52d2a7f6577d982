"""pyusdt.mark() and pyusdt.span: what real bpftrace sees of them."""

import json
import subprocess
from collections import defaultdict

import pytest
from conftest import ROOT, tracer
from tracer import Bpftrace


def script(where: str) -> str:
    """Prints every event of the three probes, one a line."""
    return "".join(
        f'usdt:{where}:pyusdt:{name} {{ printf("EVENT\\t%llu\\t%d\\t%d\\t{name}\\t%s\\t{kind}\\n",'
        f" nsecs, pid, tid, str(arg0), {value}); }}\n"
        for name, kind, value in [
            ("MARK", "%s", "str(arg1)"),
            ("SPAN_BEGIN", "%llu", "arg1"),
            ("SPAN_END", "%llu", "arg1"),
        ]
    )


def events_of(output: str, pid: int | None = None, tids: bool = False) -> list[tuple]:
    """(probe, name, value or id) in the order of time, with the thread first if asked."""
    events = []
    for line in output.split("\n"):
        if line.startswith("EVENT\t"):
            _, nsecs, of, tid, probe, name, value = line.split("\t")
            if pid is None or int(of) == pid:
                number = value if probe == "MARK" else int(value)
                events.append((int(nsecs), int(tid), probe, name, number))
    return [event[1 if tids else 2 :] for event in sorted(events)]


def run(python, code: str, *options: str, **env: str) -> tuple[list[tuple], str]:
    """(events, what the program printed) of a program that is traced system-wide."""
    with Bpftrace(script(f'"{python.lib}"')) as trace:
        done = python.run("-c", "import pyusdt\n" + code, *options, env=python.env(**env))
    assert (done.returncode, done.stderr) == (0, "")
    return events_of(trace.output), done.stdout


def spans(events):
    """The events without the marks, ids counted from 1 in the order of beginnings."""
    first = {}
    for probe, _, number in events:
        if probe == "SPAN_BEGIN":
            assert number > 0
            assert number not in first, "an id was used twice"
            first[number] = len(first) + 1
    short = {"SPAN_BEGIN": "begin", "SPAN_END": "end"}
    return [(short[p], name, first[number]) for p, name, number in events if p in short]


# ---- names and values ----

NAMES_AND_VALUES = r"""
class Name(str):
    def ask(self, *args): raise SystemExit("code of the program was run")
    __str__ = __repr__ = __len__ = __iter__ = __hash__ = __eq__ = __format__ = ask
class Hostile:
    def __getattribute__(self, name): raise SystemExit("code of the program was run")
    __str__ = __repr__ = __len__ = __bool__ = __iter__ = Name.ask
for name in ["order", "", "é日😀", "a\udc80b", "a\0b", "é\0b", "x" * 100_000, "é" * 100_000,
             Name("order"), Name("é")]:
    pyusdt.mark(name)
    with pyusdt.span(name):
        pass
for value in [None, 3, 1.5, "text é", b"\0", [1, {"a": (None,)}], 10**100, "y" * 100_000,
              ValueError("no"), Hostile(), Name("order")]:
    pyusdt.mark("value", value)
    pyusdt.mark(value=value, name="value")
"""


@tracer
def test_names_and_values(python):
    events, _ = run(python, NAMES_AND_VALUES, PYUSDT_VALUE_MAX="90")
    names = ["order", "", "é日😀", "a\\udc80b", "a\\x00b", "é\\x00b", "x" * 90, "é" * 40]
    names += ["order", "é"]
    seen = events[: 3 * len(names)]
    for number, name in enumerate(names):
        mark, begin, end = seen[3 * number : 3 * number + 3]
        assert (mark[0], mark[2]) == ("MARK", "")
        for event in mark, begin, end:
            assert event[1] == name or (len(name) >= 40 and event[1].startswith(name))
    values = [event[2] for event in events[3 * len(names) :]]
    assert values[::2] == values[1::2]
    expected = ["None", "3", "1.5", "'text é'", r"b'\x00'", "[1, {'a': (None,)}]"]
    expected += ["<int of 333 bits>", "'" + "y" * 86 + "...", "ValueError('no')"]
    assert values[: 2 * len(expected) : 2] == expected
    assert [v.split(" at ")[0] for v in values[2 * len(expected) :: 2]] == [
        "<__main__.Hostile object",
        "<__main__.Name object",
    ]


# ---- ids ----

# Each prints the order in which its spans were entered and left, as numbers of its own.
SHARED = """
import asyncio, contextlib, json, threading
S = pyusdt.span("shared")
entered, left = [], []

async def task(n):
    with S:
        entered.append(n)
        await asyncio.sleep(0.001 * (n * 7 % 10))
        with S:
            entered.append(-n)
            await asyncio.sleep(0.001 * (n * 3 % 10))
            left.append(-n)
        await asyncio.sleep(0)
        left.append(n)

async def tasks():
    await asyncio.gather(*[task(n) for n in range(1, 31)])

def generator(n):
    with S:
        entered.append(n)
        yield
        left.append(n)

def generators():
    running = [generator(n) for n in range(20)]
    for g in running:
        next(g)
    for g in running[::2] + running[1::2]:
        next(g, None)

def recursion(n=0):
    with S:
        entered.append(n)
        if n < 20:
            recursion(n + 1)
        left.append(n)

def same_frame():
    with S:
        entered.append(1)
        with S, S:
            entered.extend([2, 3])
            left.extend([3, 2])
        left.append(1)
    for n in range(4, 9):
        with S:
            entered.append(n)
            left.append(n)

def new_one_each():
    with contextlib.ExitStack() as one, contextlib.ExitStack() as two:
        for n in range(10):
            (one, two)[n % 2].enter_context(pyusdt.span("shared"))
            entered.append(n)
        left.extend([9, 7, 5, 3, 1, 8, 6, 4, 2, 0])

def exceptions():
    def raises(n):
        with S:
            entered.append(n)
            left.append(n)
            raise KeyError(n)
    for n in range(5):
        try:
            raises(n)
        except KeyError as error:
            assert error.args == (n,) and error.__context__ is None
        else:
            raise SystemExit("the exception is lost")

def bad_exits():
    S.__exit__(None, None, None)
    with S:
        entered.append(1)
        left.append(1)
    S.__exit__(None, None, None)
"""


@tracer
@pytest.mark.parametrize(
    "what",
    [
        "asyncio.run(tasks())",
        "generators()",
        "recursion()",
        "same_frame()",
        "new_one_each()",
        "exceptions()",
        "bad_exits()",
    ],
)
def test_ids_pair_up(python, what):
    events, printed = run(python, f"{SHARED}\n{what}\nprint(json.dumps([entered, left]))")
    entered, left = json.loads(printed)
    assert len(entered) == len(left) == len(set(entered))
    assert [p for p, _, _ in events].count("SPAN_BEGIN") == len(entered)
    got = spans(events)
    assert {name for _, name, _ in got} == {"shared"}
    number = {n: i + 1 for i, n in enumerate(entered)}
    assert [i for kind, _, i in got if kind == "end"] == [number[n] for n in left]


@tracer
def test_threads(python):
    code = """
import pyusdt, threading, time
S = pyusdt.span("shared")
def work(n):
    for i in range(20):
        with S, pyusdt.span(f"own-{n}"):
            pyusdt.mark("in", n)
            time.sleep(0.0005 * (n + i) % 0.003)
            with S:
                time.sleep(0)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
"""
    with Bpftrace(script(f'"{python.lib}"')) as trace:
        done = python.run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    threads = defaultdict(list)
    for tid, *event in events_of(trace.output, tids=True):
        threads[tid].append(tuple(event))
    assert len(threads) == 8
    ids = set()
    for events in threads.values():
        own = next(name for _, name, _ in events if name.startswith("own-"))
        expected = []
        for i in range(20):
            a, b, c = 3 * i + 1, 3 * i + 2, 3 * i + 3
            expected += [("begin", "shared", a), ("begin", own, b), ("begin", "shared", c)]
            expected += [("end", "shared", c), ("end", own, b), ("end", "shared", a)]
        assert spans(events) == expected
        assert [e[2] for e in events if e[0] == "MARK"] == [own[4:]] * 20
        begun = {number for probe, _, number in events if probe == "SPAN_BEGIN"}
        assert not begun & ids, "an id was used twice"
        ids |= begun


# ---- where ----


@tracer
@pytest.mark.parametrize("library", [False, True], ids=["by-pid", "by-pid-in-proc"])
def test_by_pid(python, library):
    code = """
import pyusdt, select, sys
print("imported", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    with pyusdt.span("warm"):
        pyusdt.mark("warm")
for i in range(100):
    with pyusdt.span("work"):
        pyusdt.mark("work", i)
"""
    with subprocess.Popen(
        [python.path, "-c", code], env=python.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"imported\n"
        where = f'"/proc/{process.pid}/root{python.lib}"' if library else ""
        options = [] if library else ["-p", str(process.pid)]
        with Bpftrace(script(where), *options) as trace:
            for probe in ("MARK", "SPAN_BEGIN", "SPAN_END"):
                trace.wait_for(f"{probe}\twarm")
            process.stdin.close()
            assert process.wait(60) == 0
    events = [e for e in events_of(trace.output, process.pid) if e[1] == "work"]
    assert [e[2] for e in events if e[0] == "MARK"] == [str(i) for i in range(100)]
    expected = [(kind, "work", i) for i in range(1, 101) for kind in ("begin", "end")]
    assert spans(events) == expected


@tracer
def test_subinterpreters(python):
    code = """
import threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
one = '''
import pyusdt
S = pyusdt.span("sub")
for i in range(10):
    with S:
        pyusdt.mark("sub", i)
S.__enter__()
'''
def work():
    i = interpreters.create()
    interpreters.run_string(i, one)
    interpreters.destroy(i)
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
print(pyusdt.span)
"""
    events, printed = run(python, code)
    assert printed == "<class 'pyusdt.span'>\n"
    assert [e[0] for e in events].count("MARK") == 30
    got = spans(events)  # the ids of all interpreters are different
    assert len(got) == 3 * (2 * 10 + 1)
    ended = [number for kind, _, number in got if kind == "end"]
    assert len(set(ended)) == 30


@tracer
def test_fork(python):
    code = """
import pyusdt, os
with pyusdt.span("first"):
    pass
with pyusdt.span("open"):
    child = os.fork()
    with pyusdt.span("child" if child == 0 else "parent"):
        pyusdt.mark("pid", os.getpid())
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(os.getpid(), child)
"""
    with Bpftrace(script(f'"{python.lib}"')) as trace:
        done = python.run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    parent, child = map(int, done.stdout.split())
    assert events_of(trace.output, parent) == [
        ("SPAN_BEGIN", "first", 1),
        ("SPAN_END", "first", 1),
        ("SPAN_BEGIN", "open", 2),
        ("SPAN_BEGIN", "parent", 3),
        ("MARK", "pid", str(parent)),
        ("SPAN_END", "parent", 3),
        ("SPAN_END", "open", 2),
    ]
    assert events_of(trace.output, child) == [
        ("SPAN_BEGIN", "child", 3),
        ("MARK", "pid", str(child)),
        ("SPAN_END", "child", 3),
        ("SPAN_END", "open", 2),
    ]


@tracer
def test_disabled(python):
    code = "pyusdt.mark('a', 1)\nwith pyusdt.span('b') as s:\n    print(s)\n"
    assert run(python, code, PYUSDT_DISABLE="1") == ([], "pyusdt.span('b')\n")


# ---- decorators ----

DECORATORS = (ROOT / "tests" / "programs" / "spans.py").read_text()


@tracer
def test_decorators(python):
    events, printed = run(python, DECORATORS)
    assert printed == "done\n"
    got = [(kind[0], name) for kind, name, _ in spans(events)]
    expected = []
    for name in ["function", "method", "class", "static", "raises", "async"]:
        expected += [("b", name), ("e", name)]
    expected += [("b", "generator"), ("b", "inner"), ("e", "inner"), ("e", "generator")]
    expected += [("b", "generator"), ("e", "generator")]  # closed
    expected += [("b", "steps"), ("b", "inner"), ("e", "inner"), ("e", "steps")]
    expected += [("b", "steps"), ("e", "steps")]
    expected += [("b", "old"), ("e", "old")]
    assert got == expected


def test_decorators_change_nothing_else(python):
    done = python.run("-c", DECORATORS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# ---- without a tracer ----


def test_refusals(python):
    """The same with and without a tracer."""
    code = f"""
import pickle, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import notes, pyusdt
def refuses(f):
    try:
        f()
    except TypeError as error:
        return str(error)
    raise SystemExit("not refused")
S = pyusdt.span("x")
def check():
    return [refuses(f) for f in [
        lambda: pyusdt.mark(), lambda: pyusdt.mark(1), lambda: pyusdt.mark(b"x", 1),
        lambda: pyusdt.mark("a", 1, 2), lambda: pyusdt.mark("a", other=1),
        lambda: pyusdt.mark("a", name="b"), lambda: pyusdt.mark("a", 1, value=2),
        lambda: pyusdt.mark(value=1), lambda: pyusdt.mark(None),
        lambda: pyusdt.span(), lambda: pyusdt.span(1), lambda: pyusdt.span("a", "b"),
        lambda: pyusdt.span(other="a"), lambda: type.__call__(pyusdt.span, 1),
        lambda: object.__new__(pyusdt.span), lambda: pyusdt.span.__new__(pyusdt.span),
        lambda: S(1), lambda: S(int), lambda: S(), lambda: S(len, 1), lambda: S(function=len),
        lambda: S(classmethod(len)), lambda: type("Sub", (pyusdt.span,), {{}}),
        lambda: setattr(pyusdt.span, "a", 1), lambda: pickle.dumps(S),
    ]]
before = check()
for name in ["MARK", "SPAN_BEGIN", "SPAN_END"]:
    notes.raise_semaphore(name)
assert check() == before
assert pyusdt.span(name="a").name == type.__call__(pyusdt.span, "a").name == "a"
class Name(str):
    pass
assert type(pyusdt.span(Name("a")).name) is str
try:
    S.name = "y"
except AttributeError:
    pass
assert repr(S) == "pyusdt.span('x')"
print(*before, sep="\\n")
"""
    done = python.run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    for line in ["mark() needs a name", "the name of a mark must be a str, not NoneType"]:
        assert line in done.stdout


@pytest.mark.parametrize("raised", [False, True])
def test_nothing_is_kept(python, raised):
    code = f"""
import gc, sys, weakref
sys.path.insert(0, {str(ROOT / "tests")!r})
import notes, pyusdt
if {raised}:
    for name in ["MARK", "SPAN_BEGIN", "SPAN_END"]:
        notes.raise_semaphore(name)
class Value: pass
class Name(str): pass
name, value, error = "na" + str(len(sys.argv)), Value(), KeyError()
named = Name("é")
S = pyusdt.span(name)
def counts():
    return [sys.getrefcount(x) for x in (name, named, value, error, S, pyusdt.span, None)][:-1]
def everything():
    pyusdt.mark(name, value)
    pyusdt.mark(named, value=value)
    with S, S, S, pyusdt.span(named), pyusdt.span(name=name):
        pass
    try:
        with S:
            raise error
    except KeyError:
        error.__traceback__ = None
    pyusdt.span(name)(everything)
    S.__enter__(); S.__enter__(); S.__exit__(); S.__exit__(); S.__exit__()
everything()
before = counts()
for _ in range(100):
    everything()
gc.collect()
assert counts() == before, (before, counts())
gone = weakref.ref(value)
del value
assert gone() is None
"""
    done = python.run("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_memory_grows(python):
    """Many spans that are open at once, and spans that are never left."""
    code = """
import asyncio, tracemalloc, pyusdt
S = pyusdt.span("x")
async def task():
    with S:
        await asyncio.sleep(0)
async def tasks():
    await asyncio.gather(*[task() for _ in range(1000)])
def everything():
    asyncio.run(tasks())
    for _ in range(1000):
        one = pyusdt.span("y")
        for _ in range(10):
            one.__enter__()
everything()
tracemalloc.start()
everything()
before = tracemalloc.get_traced_memory()[0]
for _ in range(5):
    everything()
assert tracemalloc.get_traced_memory()[0] < before + 100_000
"""
    done = python.run("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
