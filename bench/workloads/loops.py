"""One loop a probe: each turn makes the same, small number of that probe's events.

A loop is called with the number of turns.  bench/costs.py finds out by the
tracer's own count how many events a turn has, so no number stands here.
"""

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


# probe: its loop
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
}
