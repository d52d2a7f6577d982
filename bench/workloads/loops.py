"""One loop a probe: each turn makes the same, small number of that probe's events.

A loop is called with the number of turns.  bench/costs.py finds out by the
tracer's own count how many events a turn has, so no number stands here.
"""

import gc
import importlib
import sys
from itertools import repeat


def empty():
    pass


def calls(turns):
    for _ in repeat(None, turns):
        empty()


def one(turns):
    for _ in repeat(None, turns):
        yield 1


def yields(turns):
    for _ in one(turns):
        pass


def lines(turns):
    for _ in repeat(None, turns):
        a = 1
        b = a
        c = b
        d = c
        a = d


def builtins(turns):
    for _ in repeat(None, turns):
        len(())


def builtin_errors(turns):
    for _ in repeat(None, turns):
        try:
            ord(())
        except TypeError:
            pass


ERROR = ValueError("wrong")


def fail():
    raise ERROR


def raises(turns):
    for _ in repeat(None, turns):
        try:
            raise ERROR
        except ValueError:
            ERROR.__traceback__ = None


def unwinds(turns):
    for _ in repeat(None, turns):
        try:
            fail()
        except ValueError:
            ERROR.__traceback__ = None


def reraises(turns):
    for _ in repeat(None, turns):
        try:
            try:
                raise ERROR
            finally:
                pass
        except ValueError:
            ERROR.__traceback__ = None


def patient():
    while True:
        try:
            yield
        except ValueError:
            ERROR.__traceback__ = None


def throws(turns):
    generator = patient()
    next(generator)
    throw = generator.throw
    for _ in repeat(None, turns):
        throw(ERROR)


def nothing():
    return
    yield


def ends(turns):
    for _ in repeat(None, turns):
        for _ in nothing():
            pass


def branches(turns):
    yes = no = False
    for _ in repeat(None, turns):
        if yes:
            yes = False
        if not no:
            no = False


def three(a, b, c):
    pass


def calls_with_three(turns):
    for _ in repeat(None, turns):
        three(1, "two", None)


def ten(a, b, c, d, e, f, g, h, i, j):
    pass


def calls_with_ten(turns):
    for _ in repeat(None, turns):
        ten(1, "two", None, 4, "five", True, 7, "eight", 9, 10)


def collections(turns):
    """Of 1000 new objects, about as many as start a collection by themselves."""
    gc.disable()
    for _ in repeat(None, turns):
        young = [[] for _ in range(1000)]
        gc.collect(0)
        del young
    gc.enable()


def imports(turns):
    """Of a small module that is frozen: no other is imported in less time."""
    for _ in repeat(None, turns):
        sys.modules.pop("__hello__", None)
        importlib.import_module("__hello__")


def marks(turns):
    from pyusdt import mark

    for _ in repeat(None, turns):
        mark("order", 4711)


def spans(turns):
    from pyusdt import span

    checkout = span("checkout")
    for _ in repeat(None, turns):
        with checkout:
            pass


def new_spans(turns):
    from pyusdt import span

    for _ in repeat(None, turns):
        with span("checkout"):
            pass


def turns_alone(turns):
    for _ in repeat(None, turns):
        pass


# probe, or another name: its loop
LOOPS = {
    "PY_START": calls,
    "PY_RETURN": calls,
    "PY_RESUME": yields,
    "PY_YIELD": yields,
    "CALL": calls,
    "LINE": lines,
    "PY_UNWIND": unwinds,
    "PY_THROW": throws,
    "C_RETURN": builtins,
    "C_RAISE": builtin_errors,
    "RAISE": raises,
    "RERAISE": reraises,
    "EXCEPTION_HANDLED": raises,
    "STOP_ITERATION": ends,
    "JUMP": calls,
    "BRANCH": branches,
    "BRANCH_LEFT": branches,
    "BRANCH_RIGHT": branches,
    "INSTRUCTION": lines,
    "PY_START_ARGS": calls,
    "3 arguments": calls_with_three,
    "10 arguments": calls_with_ten,
    "FUNC_SLOW": calls,
    "GC_START": collections,
    "GC_DONE": collections,
    "IMPORT_START": imports,
    "IMPORT_DONE": imports,
    "MARK": marks,
    "SPAN_BEGIN": spans,
    "SPAN_END": spans,
    "new spans": new_spans,
    "nothing": turns_alone,
}
# What takes so many times longer than a call.
HEAVY = {"GC_START": 20, "GC_DONE": 20, "IMPORT_START": 50, "IMPORT_DONE": 50}
