"""Compares the text of values with the oracle's, inside the interpreter under test.

    python text_worker.py DIRECTORY-OF-TEXTMODULE

reads [expression, sizes] as JSON, one a line, evaluates the expression among the
names below, and answers with a line of JSON: null, or what is wrong.  It is a
process of its own so that the interpreter need not be the one that has
hypothesis, and so that a crash is a finding as any other.
"""

import functools
import json
import math
import os
import struct
import sys
import types

sys.path[:0] = [sys.argv[1], os.path.dirname(__file__)]
import oracle  # noqa: E402
import textmodule  # noqa: E402

# ---- what expressions are made of ----


def f64(bits):
    """The float with these 64 bits."""
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


asked = []


def _ask(*args, **kwargs):
    asked.append(args)
    raise RuntimeError("code of the program was run")


# Special methods of every kind; __del__ and __init__ would run without being asked for.
_SPECIAL = """
repr str format bytes getattribute getattr len bool iter next contains getitem hash eq lt index int
float call get dir sizeof reduce fspath length_hint
"""
_HOSTILE = {f"__{name}__": _ask for name in _SPECIAL.split()}
_HOSTILE["__class__"] = property(_ask)
_HOSTILE["__dict__"] = property(_ask)
_HOSTILE["__doc__"] = property(_ask)


class HostileMeta(type):
    """Its classes answer no question about themselves."""

    __repr__ = __str__ = __len__ = __bool__ = __iter__ = __getattr__ = __eq__ = _ask
    __hash__ = type.__hash__
    __instancecheck__ = __subclasscheck__ = _ask


def hostile(base, *args):
    """An instance of a subclass that objects to every question."""
    return _make(type("Hostile", (base,), dict(_HOSTILE)), *args)


def hostile_class(base):
    return _make(HostileMeta, "Strange", (base,), dict(_HOSTILE))


def hostile_instance(base, *args):
    return _make(hostile_class(base), *args)


def _make(cls, *args):
    return type.__call__(cls, *args)


def subclass(base, *args):
    """An instance of a plain subclass."""
    return type("Sub", (base,), {})(*args)


def named_class(name, qualname, module):
    return type(name, (), {"__qualname__": qualname, "__module__": module})


def named_function(name, qualname):
    def function():
        pass

    function.__name__ = name
    function.__qualname__ = qualname
    return function


def named_error(name, args):
    return type(name, (ValueError,), {})(*args)


def looped(value):
    """A list that contains itself."""
    result = [value]
    result.append(result)
    return result


def looped_dict(value):
    result = {"value": value}
    result["self"] = result
    return result


def deep(value, depth):
    for _ in range(depth):
        value = (value,)
    return value


def method(function, self):
    return types.MethodType(function, 0 if self is None else self)


def partial(value):
    return functools.partial(_ask, value)


class Plain:
    """An instance can be a dict's key."""

    __slots__ = ()

    def method(self):
        pass

    class Inner:
        pass


def generator():
    yield


# ---- the comparison ----


def float_text(value):
    """repr(), which may be a digit shorter for a power of two: its neighbours are not
    equally far away there."""
    expected = repr(value)
    if abs(math.frexp(value)[0]) != 0.5:
        return expected
    got = textmodule.text(value, 64)
    same = float(got) == value and math.copysign(1, float(got)) == math.copysign(1, value)
    return got if same and len(got) <= len(expected) + 1 else expected


oracle.float_text = float_text


def compare(value, size):
    oracle.VALUE_MAX = size - 1
    expected = oracle.text(value)
    del asked[:]
    got = textmodule.text(value, size)
    if asked:
        return "code of the program was run"
    if got != expected:
        return f"{size=}: is {got!r}, should be {expected!r}"
    return None


def compare_name(name, size):
    """pyusdt_name(): ASCII as it is, whatever the size; all else bounded."""
    got = textmodule.name(name, size)
    if name.isascii():
        expected = name.partition("\0")[0]
    else:
        full = name.replace("\0", r"\x00").encode("utf-8", "backslashreplace")
        if len(full) >= size:
            full = full[: size - 4].decode("utf-8", "ignore").encode() + b"..."
        expected = full.decode()
    return None if got == expected else f"{size=}: name is {got!r}, should be {expected!r}"


def answer(expression, sizes):
    names = dict(globals())
    value = eval(expression, names)
    try:
        for size in sizes:
            wrong = compare(value, size)
            if wrong is None and type(value) is str:
                wrong = compare_name(value, size)
            if wrong is not None:
                return wrong
    except AssertionError as error:
        return f"{size=}: {error}"
    return None


def main(answer):
    """Answers every line of input."""
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main(answer)
