"""Level one: the text of a call's arguments (src/args.c), and the frames it is read from
(src/frame.c), against the oracle's, without a tracer.

The calls are run by args_worker.py in the interpreter under test. PYUSDT_FUZZ_EXAMPLES=N
makes N new calls.
"""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from test_text_fuzz import SIZES, Worker, containers, leaves

SMALL = [8, 9, 10, 11, 12, 13, 17, 33, 64, 129, 1000, 4097]


@pytest.fixture(scope="session")
def args_module(python, text_module) -> str:
    """The directory of argsmodule, beside textmodule."""
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    include = python.run("-c", code).stdout.strip()
    sources = [ROOT / "tests/c/argsmodule.c", ROOT / "src/args.c", ROOT / "src/frame.c"]
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra"]
        + ["-Werror", *shlex.split(os.environ.get("CFLAGS", "")), "-I", include]
        + ["-I", str(ROOT / "src"), *map(str, sources)]
        + ["-o", str(Path(text_module) / "argsmodule.so"), "-lm"],
        check=True,
    )
    return text_module


@pytest.fixture(scope="session")
def worker(python, args_module):
    worker = Worker(python, args_module)
    worker.command[1] = str(ROOT / "tests" / "args_worker.py")
    yield worker
    assert worker.stop() in ("", "exit code 0: ")


CALLS = {
    "nothing": "watch(f := lambda: seen()); f()",
    "positional": "f = watch(lambda a, b: seen()); f(1, 'x')",
    "defaults": "f = watch(lambda a, b=2, *, c=3: seen()); f(1); f(1, c=4); f(b=5, a=6)",
    "positional only": "f = watch(lambda a, /, b: seen()); f(1, 2); f(1, b=2)",
    "keyword only": "f = watch(lambda *, a, b=None: seen()); f(a=1); f(b=1, a=2)",
    "*args": "f = watch(lambda *args: seen()); f(); f(1); f(1, 2); f(*range(1000))",
    "**kw": "f = watch(lambda **kw: seen()); f(); f(a=1); f(a=1, b=2); f(**{'x y': 1})",
    "all": """
f = watch(lambda a, b=2, /, c=3, *args, d, e=5, **kw: seen())
f(1, d=4); f(1, 2, 3, 4, 5, d=6, x=7); f(1, 2, c=3, d='x', e=None, kw=1, args=2)
""",
    "issue": """
def f(n, name, *args, **kw): seen()
watch(f); f(3, 'x', 1, 2, a=1)
""",
    "method": """
class Class:
    @watch
    def method(self, a, b=2): seen()
    @watch
    def captured(self, a):
        seen()
        return lambda: (self, a)
    @watch
    def __init__(self): seen()
    @watch
    def __call__(self, *args): seen()
    @property
    @watch
    def property(self): seen()
    @watch
    def other_name(this): seen()
    @watch
    def later(a, self): seen()
o = Class(); o.method(1); o.captured(2); o(1, 2); o.property; o.other_name(); o.later(3)
Class.method(4, 5); Class.method(Class, 6); Class.method(None, 'x')
""",
    "classmethod": """
class Class:
    @classmethod
    @watch
    def method(cls, a): seen()
    @watch
    def __new__(cls, *args): seen(); return object.__new__(cls)
    @classmethod
    @watch
    def captured(cls):
        seen()
        return lambda: cls
    @staticmethod
    @watch
    def static(a): seen()
    @watch
    def __class_getitem__(cls, item): seen()
    @watch
    def __init_subclass__(cls, **kw): seen()
class Sub(Class, key=1): pass
Class.method(1); Sub.method(2); Class(1); Class.captured(); Class.static(3); Class[4]
Class.method.__func__(5, 6)
class Meta(type):
    @watch
    def method(self): seen()
    @watch
    def metamethod(cls): seen()
Made = Meta('Made', (), {}); Made.method(); Made.metamethod()
""",
    "self of builtins": "f = watch(lambda self: seen()); [f(v) for v in (1, 'x', [1], int, f)]",
    "super": """
class A:
    @watch
    def method(self, a): seen()
class B(A):
    @watch
    def method(self, a):
        seen()
        super().method(a + 1)
B().method(1)
""",
    "closures": """
@watch
def f(a, b, /, c=3, *args, d=4, **kw):
    seen()
    def inner():
        nonlocal b
        b = 1
        return a, c, args, d, kw
    return inner
f(1, [2]); f('x', {}, 5, 6, 7, d=None, e=1)
@watch
def outer(a):
    seen()
    @watch
    def inner(b, c):
        seen()
        return lambda: (a, b)
    return inner
outer(1)(2, 3)
""",
    "a cell as the value": """
import types
f = watch(lambda a: seen())
f(types.CellType(1)); f(types.CellType())
@watch
def g(a):
    seen()
    return lambda: a
g(types.CellType(1)); g(types.CellType())
""",
    "generator": """
@watch
def f(a, *args, b=2):
    seen()
    yield a
    yield lambda: b
g = f(1, 2); next(g); next(g)
""",
    "coroutine": """
@watch
async def f(a, **kw):
    seen()
    return lambda: a
@watch
async def g(a):
    seen()
    yield a
c = f(1, x=1)
try: c.send(None)
except StopIteration: pass
try: g(2).__anext__().send(None)
except StopIteration: pass
""",
    "comprehensions": """
@watch_inner
def f(x):
    list(seen() or x for i in [1])
    list(seen() for i in range(1) for j in [2])
    [(lambda y: seen())(i) for i in [1, 2]]
    {i: (lambda y=i: seen())() for i in [1]}
    {(lambda *a: seen())(i) for i in [1]}
    class C:
        a = [(lambda z: seen())(i) for i in [1]]
f(1)
""".replace("        a = [", "        seen(); a = ["),
    "names": """
f = watch(lambda é, ж, 日本, 𐐨, *ünï, ñ=1, **çödé: seen())
f('é', 'ж', '日本', '𐐨', '😀', ñ='\\ud800', x=1)
""",
    "recursion": """
@watch
def f(n):
    seen()
    return n and f(n - 1)
f(50)
""",
    "many": """
exec('def f(' + ', '.join(f'argument_{i}' for i in range(300)) + '): seen()')
watch(f)(*range(300))
""",
    "long": "f = watch(lambda a, b: seen()); f('x' * 10000, 1); f(['é' * 100] * 100, {1: 2})",
    "hostile": """
f = watch(lambda self, a, *args, b, **kw: seen())
h = hostile_instance(dict); c = hostile_class(list)
f(h, h, h, h, b=h, c=h); f(c, c, b=c)
g = watch(lambda cls, a: seen()); g(h, h); g(c, c); g(hostile(int), hostile(tuple))
""",
    "called from C": """
f = watch(lambda a, b=1: seen())
sorted([2, 1], key=f); list(map(f, [1], [2])); max([1], key=f)
""".replace("seen())", "seen() or 0)"),
    "while an exception is handled": """
f = watch(lambda a: seen())
try: 1 / 0
except ZeroDivisionError as error: f(error)
finally: f(1)
""",
}


@pytest.mark.parametrize("call", CALLS)
def test_call(worker, call):
    assert worker.ask(CALLS[call], [*SMALL, *SIZES]) is None


def run(python, args_module, code):
    paths = [str(ROOT / "tests"), args_module]
    program = f"import sys; sys.path[:0] = {paths!r}\nfrom argsmodule import here, frames\n"
    done = python.run("-c", program + code)
    assert done.returncode == 0, done.stderr


def test_exact(python, args_module):
    """As the documentation has it, whatever the oracle says."""
    run(
        python,
        args_module,
        """
class Class:
    def method(self, n): return here(100)
    @classmethod
    def make(cls, n=1): return here(100)
def f(n, name, *args, key=None, **kw): return here(100)
assert f(3, 'x', 1, 2, key=(), a=1) == "n=3, name='x', *args=(…2 items), key=(), **kw={…1 item}"
assert f(3, 'x', 1) == "n=3, name='x', *args=(…1 item), key=None, **kw={…0 items}"
assert Class().method(1) == "self=<__main__.Class>, n=1"
assert Class.make() == "cls=<class '__main__.Class'>, n=1"
assert next(here(100) for i in [1]) == ".0=<...>"
assert (lambda: here(100))() == ""
assert (lambda n: here(8))('abc') == "n='abc'"
assert (lambda n: here(8))('abcd') == "n='a..."
assert (lambda n: here(9))('日本') == "n='..."
assert (lambda n: here(10))('日本') == "n='日..."
assert (lambda n: here(11))('日本') == "n='日本'"
""",
    )


def test_unset(python, args_module):
    run(
        python,
        args_module,
        """
def f(a, b, *c, d=4, **e):
    del a, c, d, e
    b = 5
    return here(100)
assert f(1, 2) == "a=<unset>, b=5, *c=<unset>, d=<unset>, **e=<unset>", f(1, 2)
def g(a, *b, c=1, **d):
    def inner(): return a, b, c, d
    del a, b, c, d
    return here(100)
assert g(1) == "a=<unset>, *b=<unset>, c=<unset>, **d=<unset>", g(1)
def h(a, *b, **c):
    b = 1; c = [a]
    return here(100)
assert h(1) == "a=1, *b=1, **c=[1]"
""",
    )


def test_nothing_is_kept(python, args_module):
    """No reference is taken or dropped."""
    run(
        python,
        args_module,
        """
values = [10**100, 1.5, "x" * 1000, [1], {"a": 1}, object(), lambda: 0]
def f(a, *args, b, **kw):
    def inner(): return a
    for _ in range(100): here(100)
before = [sys.getrefcount(value) for value in values]
for value in values:
    f(value, value, b=value, c=value)
del value
assert [sys.getrefcount(value) for value in values] == before
""",
    )


def test_frames(python, args_module):
    """The functions of the stack are those of sys._getframe()."""
    run(
        python,
        args_module,
        """
def chain(frame):
    while frame is not None:
        yield frame.f_code, 1 if frame.f_code.co_flags & 0x2A0 else 0
        frame = frame.f_back
def check(value=None):
    assert frames() == list(chain(sys._getframe())), (frames(), list(chain(sys._getframe())))
    return 0
def nested(n):
    check()
    return n and nested(n - 1)
def generator():
    check()
    yield 1
    yield from inner()
def inner():
    check()
    yield 2
async def coroutine():
    await other()
async def other():
    check()
class Class:
    check()
    def __init__(self): check()
    def __repr__(self):
        check()
        return ''
check(); nested(100); list(generator()); sorted([1, 2], key=check); list(map(check, [1]))
try: coroutine().send(None)
except StopIteration: pass
repr([Class()]); [check() for _ in range(1)]; list(check() for _ in range(1))
exec("check()"); eval("check()")
import threading
thread = threading.Thread(target=nested, args=(3,))
thread.start(); thread.join()
""",
    )


# ---- any call ----

names = st.sampled_from(["a", "b", "self", "cls", "é", "ж", "𐐨", "argument", "x1", "y_", "k"])
values = st.one_of(leaves, leaves, leaves, containers(leaves))  # deeper: test_text_fuzz.py


@st.composite
def calls(draw):
    """The source of a function and a call of it."""
    parameters = draw(st.lists(names, unique=True, max_size=6))
    only = draw(st.integers(0, len(parameters)))  # positional only up to here
    positional = draw(st.integers(only, len(parameters)))
    varargs = draw(st.booleans())
    varkw = draw(st.booleans())
    defaults = draw(st.integers(0, positional))  # the last of the positional ones
    captured = draw(st.lists(st.sampled_from([*parameters, "args", "kw"]), unique=True, max_size=3))
    captured = [n for n in captured if (n != "args" or varargs) and (n != "kw" or varkw)]
    kind = draw(st.sampled_from(["plain", "generator", "coroutine", "async generator"]))

    words, call = [], []
    for i, name in enumerate(parameters[:positional]):
        default = i >= positional - defaults
        words.append(f"{name}=({draw(values)})" if default else name)
        if not default or draw(st.booleans()):
            if i < only or not call or draw(st.booleans()):
                # Positional, unless one before it was left out or given by name.
                given_before = len(call) == i and not any(w.startswith("!") for w in call)
                call.append(f"({draw(values)})" if given_before else f"!{name}=({draw(values)})")
            else:
                call.append(f"!{name}=({draw(values)})")
        if i + 1 == only:
            words.append("/")
    # What is positional only cannot be given by name: leave it to its default.
    call = [w for w in call if not (w[0] == "!" and w[1:].partition("=")[0] in parameters[:only])]
    plain = all(w[0] != "!" for w in call)
    if varargs:
        words.append("*args")
        if plain and len(call) == positional:
            call += [f"({draw(values)})" for _ in range(draw(st.integers(0, 3)))]
    elif positional < len(parameters):
        words.append("*")
    for name in parameters[positional:]:
        default = draw(st.booleans())
        words.append(f"{name}=({draw(values)})" if default else name)
        if not default or draw(st.booleans()):
            call.append(f"!{name}=({draw(values)})")
    if varkw:
        words.append("**kw")
        call += [f"!other{i}=({draw(values)})" for i in range(draw(st.integers(0, 2)))]
    call = [w.lstrip("!") if w[0] == "!" else w for w in call]

    head = "async def" if kind in ("coroutine", "async generator") else "def"
    body = ["seen()", f"(lambda: ({', '.join(captured)}{',' if captured else ''}))"]
    if kind.endswith("generator"):
        body.append("yield")
    run = {
        "plain": "{}",
        "generator": "next({})",
        "coroutine": "run({})",
        "async generator": "run({}.__anext__())",
    }[kind]
    return "\n".join(
        [
            "def run(c):",
            "    try: c.send(None)",
            "    except StopIteration: pass",
            "@watch",
            f"{head} f({', '.join(words)}):",
            *("    " + line for line in body),
            run.format(f"f({', '.join(call)})"),
        ]
    )


@examples
@given(calls(), st.lists(st.integers(8, 4097), max_size=3))
def test_any_call(worker, source, sizes):
    assert worker.ask(source, [*SMALL, *sizes]) is None, source
