"""The oracle: what the probes should have said, recorded by sys.monitoring in pure Python.

    python -m pyusdt tests/oracle.py OUT.json program.py

runs the program under a sys.monitoring tool of its own, beside pyusdt's, and
writes every event of code in the program's own directory to OUT.json: a list
of [event, tid, function, file, line, offset, value, qualname, code address].
Nothing of pyusdt is used here: text() says again, in Python, what src/text.h
promises.
"""

import json
import os
import sys
import threading
import types

VALUE_MAX = int(os.environ.get("PYUSDT_VALUE_MAX", "128"))
MAX_DEPTH = 3
HERE = os.path.dirname(sys.argv[-1]) + os.sep

# Their repr() is CPython's own and asks no user code.
BUILTIN_CALLABLES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
)


# ---- the text of a value ----


def _class_name(cls):
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    return name if module in (None, "builtins") else f"{module}.{name}"


def _plain(value):
    return f"<{_class_name(type(value))} object at {id(value):#x}>"


def _callable(value, depth):
    cls = type(value)
    if issubclass(cls, type):  # isinstance() would ask the value for its __class__
        return f"<class '{_class_name(value)}'>"
    if cls is types.MethodType:
        function = value.__func__
        name = function.__qualname__ if type(function) is types.FunctionType else function.__name__
        return f"<bound method {name} of {_any(value.__self__, depth + 1)}>"
    if cls is types.WrapperDescriptorType and value.__objclass__ is object:
        return f"<slot wrapper '{value.__name__}' of 'object' objects>"  # 3.15 shortens it
    return repr(value) if cls in BUILTIN_CALLABLES else _plain(value)


def _any(value, depth):
    cls = type(value)
    if cls in (str, bytes):
        return repr(value[:VALUE_MAX]) if len(value) > VALUE_MAX else repr(value)
    if value is None or cls in (bool, float):
        return repr(value)
    if cls is int:
        fits = -(2**63) <= value < 2**63
        return repr(value) if fits else f"<int of {value.bit_length()} bits>"
    if cls in (list, tuple, dict):
        left, right = {list: "[]", tuple: "()", dict: "{}"}[cls]
        if value and depth >= MAX_DEPTH:
            items = "..."
        elif cls is dict:
            items = ", ".join(
                f"{_any(k, depth + 1)}: {_any(v, depth + 1)}" for k, v in list(value.items())[:200]
            )
        else:
            items = ", ".join(_any(item, depth + 1) for item in value[:200])
        comma = "," if cls is tuple and len(value) == 1 and items != "..." else ""
        return left + items + comma + right
    return _callable(value, depth) if depth <= MAX_DEPTH else _plain(value)


def text(value):
    """What argument 4 should be."""
    full = _any(value, 0).encode("utf-8", "backslashreplace")
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


CALLBACKS = {
    "PY_START": lambda c, o: _record("PY_START", c, c.co_firstlineno, o, ""),
    "PY_RESUME": lambda c, o: _record("PY_RESUME", c, c.co_firstlineno, o, ""),
    "PY_RETURN": lambda c, o, v: _record("PY_RETURN", c, c.co_firstlineno, o, text(v)),
    "PY_YIELD": lambda c, o, v: _record("PY_YIELD", c, c.co_firstlineno, o, text(v)),
    "CALL": lambda c, o, f, a: _record("CALL", c, c.co_firstlineno, o, text(f)),
    "LINE": lambda c, n: _record("LINE", c, n, 0, ""),
}


def main():
    out, program = sys.argv[1:]
    monitoring = sys.monitoring
    tool = monitoring.DEBUGGER_ID
    with open(program, "rb") as file:
        code = compile(file.read(), program, "exec")
    module = types.ModuleType("__main__")
    module.__file__ = program
    sys.modules["__main__"] = module

    monitoring.use_tool_id(tool, "oracle")
    mask = 0
    for name, callback in CALLBACKS.items():
        event = getattr(monitoring.events, name)
        monitoring.register_callback(tool, event, callback)
        mask |= event
    monitoring.set_events(tool, mask)
    exec(code, module.__dict__)
    monitoring.set_events(tool, 0)
    with open(out, "w", encoding="utf-8", errors="surrogatepass") as file:
        json.dump(records, file)


if __name__ == "__main__":
    main()
