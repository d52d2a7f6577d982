"""Compares the text of calls' arguments with the oracle's, inside the interpreter under test.

    python args_worker.py DIRECTORY-OF-ARGSMODULE-AND-TEXTMODULE

reads [source, sizes] as JSON, one a line, runs the source with the names below and those
of text_worker.py, and answers with a line of JSON: null, or what is wrong. The functions
that it wraps in watch() call seen() before anything else: there the oracle reads the
arguments from the frame, as inspect does, which argsmodule has read at PY_START.
"""

import inspect
import os
import sys
import types

sys.path[:0] = [sys.argv[1], os.path.dirname(__file__)]
import argsmodule  # noqa: E402
import oracle  # noqa: E402
import text_worker  # noqa: E402
from text_worker import *  # noqa: E402, F403

TOOL = 4
monitoring = sys.monitoring
monitoring.use_tool_id(TOOL, "args_worker")
monitoring.register_callback(TOOL, monitoring.events.PY_START, argsmodule.on_start)

expected = []
signatures = {}


def watch_code(code):
    monitoring.set_local_events(TOOL, code, monitoring.events.PY_START)


def watch(function):
    """A function, or a class or static method, of which calls are compared."""
    plain = getattr(function, "__func__", function)
    watch_code(plain.__code__)
    signatures[plain.__code__] = inspect.signature(plain)
    return function


def watch_inner(function):
    """Of all code in a function: its lambdas, comprehensions, class bodies."""
    found = [function.__code__]
    while found:
        for constant in found.pop().co_consts:
            if isinstance(constant, types.CodeType):
                watch_code(constant)
                found.append(constant)
    return function


def items(count):
    return f"…{count} item{'' if count == 1 else 's'}"


def first(name, value):
    if name == "self" or (name == "cls" and not issubclass(type(value), type)):
        return f"<{oracle._class_name(type(value))}>"
    return "<...>" if name == ".0" else oracle._any(value, 0)


def words(frame):
    """The arguments of a frame, in the order of inspect.signature()."""
    info = inspect.getargvalues(frame)
    count = frame.f_code.co_argcount
    values = info.locals
    for i, name in enumerate(info.args[:count]):
        value = oracle._any(values[name], 0) if i else first(name, values[name])
        yield f"{name}={value}"
    if info.varargs is not None:
        yield f"*{info.varargs}=({items(len(values[info.varargs]))})"
    for name in info.args[count:]:
        yield f"{name}={oracle._any(values[name], 0)}"
    if info.keywords is not None:
        yield f"**{info.keywords}={{{items(len(values[info.keywords]))}}}"


def seen(depth=1):
    """The caller's arguments, for the comparison."""
    frame = sys._getframe(depth)
    if frame.f_code in signatures:
        parameters = signatures[frame.f_code].parameters.values()
        names = [str(p.replace(default=p.empty, annotation=p.empty)) for p in parameters]
        assert names == [word.partition("=")[0] for word in words(frame)]
    sizes = []
    for size in argsmodule_sizes:
        oracle.VALUE_MAX = size - 1
        sizes.append(cut(", ".join(words(frame)), size - 1))
    expected.append(sizes)


def cut(text, limit):
    full = text.replace("\0", r"\x00").encode("utf-8", "backslashreplace")
    if len(full) <= limit:
        return full.decode()
    return full[: limit - 3].decode("utf-8", "ignore") + "..."


argsmodule_sizes = []


def answer(source, sizes):
    del expected[:], text_worker.asked[:]
    argsmodule_sizes[:] = sizes
    argsmodule.sizes(list(sizes))
    argsmodule.take()
    names = dict(globals())
    try:
        exec(source, names)
    except AssertionError as error:
        return f"{error}"
    if text_worker.asked:
        return "code of the program was run"
    got = argsmodule.take()
    if len(got) != len(expected) or not got:
        return f"{len(got)} calls were seen, should be {len(expected)}"
    for call, right in zip(got, expected, strict=True):
        for size, text, wanted in zip(sizes, call, right, strict=True):
            if text != wanted:
                return f"{size=}: is {text!r}, should be {wanted!r}"
    return None


if __name__ == "__main__":
    text_worker.main(answer)
