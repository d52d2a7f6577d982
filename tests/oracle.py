"""The oracle: what the probes should have said, recorded by sys.monitoring in pure Python.

    python -m pyusdt tests/oracle.py EVENT,EVENT... OUT.json program.py

runs the program under a sys.monitoring tool of its own, beside pyusdt's, and
writes each of these events of code in the program's own directory to OUT.json: a list
of [event, tid, function, file, line, offset, value, qualname, code address].
Nothing of pyusdt is used here: text() says again, in Python, what src/text.h
promises.
"""

import itertools
import json
import os
import sys
import threading
import types

VALUE_MAX = int(os.environ.get("PYUSDT_VALUE_MAX", "128"))
MAX_DEPTH = 3
FREE_THREADED = "t" in sys.abiflags  # no __qualname__ there, see src/compat.h
HERE = os.path.dirname(sys.argv[-1]) + os.sep

# Their repr() is CPython's own and asks no user code.
BUILTIN_CALLABLES = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
)


# ---- the text of a value ----

float_text = repr


def _is(cls, *classes):
    """Not `cls in classes`: that would ask a metaclass for its __eq__."""
    return any(cls is c for c in classes)


def _class_name(cls):
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__name__" if FREE_THREADED else "__qualname__"].__get__(cls)
    if not issubclass(type(module), str) or str.__eq__(module, "builtins"):
        return name
    return f"{str.__str__(module)}.{name}"


def _function_name(function):
    return function.__code__.co_qualname if FREE_THREADED else function.__qualname__


def _plain(value):
    return f"<{_class_name(type(value))} object at {id(value):#x}>"


def _callable(value, depth):
    cls = type(value)
    if issubclass(cls, type):  # isinstance() would ask the value for its __class__
        return f"<class '{_class_name(value)}'>"
    if cls is types.MethodType:
        function = value.__func__
        if type(function) is types.FunctionType:
            name = _function_name(function)
        else:  # another callable need not have a name, and could only be asked for it
            name = function.__name__ if type(function) is types.BuiltinFunctionType else "?"
        return f"<bound method {name} of {_any(value.__self__, depth + 1)}>"
    if cls is types.WrapperDescriptorType and value.__objclass__ is object:
        return f"<slot wrapper '{value.__name__}' of 'object' objects>"  # 3.15 shortens it
    if cls is types.FunctionType:
        return f"<function {_function_name(value)} at {id(value):#x}>"
    return repr(value) if _is(cls, *BUILTIN_CALLABLES) else _plain(value)


def _exception(value, depth):
    name = type.__dict__["__name__"].__get__(type(value))
    args = BaseException.args.__get__(value)
    if len(args) == 1:
        return f"{name}({_any(args[0], depth + 1)})"
    return name + _any(args, depth)


def _join(texts):
    """Those that can be seen: a container may be large."""
    seen, length = [], 0
    for item in texts:
        seen.append(item)
        length += len(item)
        if length > VALUE_MAX:
            break
    return ", ".join(seen)


def _any(value, depth):
    cls = type(value)
    if _is(cls, str, bytes):
        return repr(value[:VALUE_MAX]) if len(value) > VALUE_MAX else repr(value)
    if value is None or _is(cls, bool, float):
        return float_text(value) if cls is float else repr(value)
    if cls is int:
        fits = -(2**63) <= value < 2**63
        return repr(value) if fits else f"<int of {value.bit_length()} bits>"
    if _is(cls, list, tuple, dict):
        left, right = {list: "[]", tuple: "()", dict: "{}"}[cls]
        if value and depth >= MAX_DEPTH:
            items = "..."
        elif cls is dict:
            items = _join(f"{_any(k, depth + 1)}: {_any(v, depth + 1)}" for k, v in value.items())
        else:
            items = _join(_any(item, depth + 1) for item in value)
        comma = "," if cls is tuple and len(value) == 1 and items != "..." else ""
        return left + items + comma + right
    if issubclass(cls, BaseException) and depth < MAX_DEPTH:
        return _exception(value, depth)
    return _callable(value, depth) if depth <= MAX_DEPTH else _plain(value)


def text(value):
    """What argument 4 should be."""
    full = _any(value, 0).replace("\0", r"\x00").encode("utf-8", "backslashreplace")
    if len(full) <= VALUE_MAX:
        return full.decode()
    return full[: VALUE_MAX - 3].decode("utf-8", "ignore") + "..."


# ---- the recorder ----

records = []


def _record(event, code, line, offset, value):
    if code.co_filename.startswith(HERE):
        records.append(
            [
                event,
                threading.get_native_id(),
                code.co_name,
                code.co_filename,
                line,
                offset,
                value,
                code.co_qualname,
                id(code),
            ]
        )


def _line(code, offset):
    positions = itertools.islice(code.co_positions(), offset // 2, None)
    line = next(positions)[0]
    return -1 if line is None else line


# Callbacks by what the interpreter passes to them: see src/probes.h.
def _code(event):
    return lambda c, o: _record(event, c, c.co_firstlineno, o, "")


def _value(event):
    return lambda c, o, v, *rest: _record(event, c, c.co_firstlineno, o, text(v))


def _error(event):
    return lambda c, o, v: _record(event, c, _line(c, o), o, text(v))


def _jump(event):
    return lambda c, o, d: _record(event, c, _line(c, o), o, str(d))


def _place(event):
    return lambda c, o: _record(event, c, _line(c, o), o, "")


CALLBACKS = {
    "PY_START": _code,
    "PY_RESUME": _code,
    "PY_RETURN": _value,
    "PY_YIELD": _value,
    "CALL": _value,
    "LINE": lambda event: lambda c, n: _record(event, c, n, 0, ""),
    "PY_UNWIND": _value,
    "PY_THROW": _value,
    "C_RETURN": _value,
    "C_RAISE": _value,
    "RAISE": _error,
    "RERAISE": _error,
    "EXCEPTION_HANDLED": _error,
    "STOP_ITERATION": _error,
    "JUMP": _jump,
    "BRANCH": _jump,
    "BRANCH_LEFT": _jump,
    "BRANCH_RIGHT": _jump,
    "INSTRUCTION": _place,
}


def main():
    names, out, program = sys.argv[1:]
    monitoring = sys.monitoring
    tool = monitoring.DEBUGGER_ID
    with open(program, "rb") as file:
        code = compile(file.read(), program, "exec")
    module = types.ModuleType("__main__")
    module.__file__ = program
    sys.modules["__main__"] = module

    monitoring.use_tool_id(tool, "oracle")
    mask = 0
    for name in names.split(","):
        event = getattr(monitoring.events, name)
        monitoring.register_callback(tool, event, CALLBACKS[name](name))
        mask |= event
    if mask & (monitoring.events.C_RETURN | monitoring.events.C_RAISE):  # all three or none
        mask |= monitoring.events.CALL | monitoring.events.C_RETURN | monitoring.events.C_RAISE
    monitoring.set_events(tool, mask)
    exec(code, module.__dict__)
    monitoring.set_events(tool, 0)
    with open(out, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(json.dumps(records))  # dump() is in Python, and traced


if __name__ == "__main__":
    main()
