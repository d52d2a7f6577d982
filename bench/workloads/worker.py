"""Runs loops on command and says how long each took: the traced side of bench/costs.py.

    worker.py MODULE LOOP [functions COUNT | depth DEPTH | threads COUNT]

imports MODULE ("" for none) and answers each line of stdin by one line:

    run TURNS [TOOL]    nanoseconds of CPU time, which other programs disturb least;
                        with a tool of TOOLS switched on for the loop
    wait                "ok" as soon as some sys.monitoring tool has events, or pyusdt is
                        told of garbage collections; "never" after 30 seconds
"""

import contextlib
import gc
import importlib
import os
import sys
import tempfile
import threading
import time
import types

from loops import LOOPS, empty


def monitored():
    monitoring = sys.monitoring
    loader = importlib._bootstrap._find_and_load_unlocked.__code__
    tools = [tool for tool in range(6) if monitoring.get_tool(tool)]
    return (
        any(monitoring.get_events(tool) for tool in tools)
        or any(monitoring.get_local_events(tool, loader) for tool in tools)
        or any(getattr(callback, "__name__", "") == "pyusdt" for callback in gc.callbacks)
    )


# ---- what a loop is run in ----


def with_functions(count):
    """Calls each of `count` functions in turn; their code objects differ."""
    code = empty.__code__
    functions = [
        types.FunctionType(code.replace(co_name=f"function{i}", co_qualname=f"function{i}"), {})
        for i in range(count)
    ]

    def loop(turns):
        while turns > 0:
            for function in functions[:turns] if turns < count else functions:
                function()
            turns -= count

    return loop


def in_threads(loop, count):
    """Shared among threads."""

    def run(turns):
        threads = [threading.Thread(target=loop, args=(turns // count,)) for _ in range(count)]
        start = time.process_time_ns()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.process_time_ns() - start

    return run


# ---- other tools ----


@contextlib.contextmanager
def python_callback():
    """What `@ = count()` is in Python."""
    monitoring = sys.monitoring
    calls = 0

    def count(code, offset):
        nonlocal calls
        calls += 1

    event = monitoring.events.PY_START
    monitoring.use_tool_id(3, "bench")
    monitoring.register_callback(3, event, count)
    monitoring.set_events(3, event)
    try:
        yield
    finally:
        monitoring.set_events(3, 0)
        monitoring.register_callback(3, event, None)
        monitoring.free_tool_id(3)


@contextlib.contextmanager
def profile():
    import cProfile

    profiler = cProfile.Profile()
    profiler.enable()
    try:
        yield
    finally:
        profiler.disable()


@contextlib.contextmanager
def viztracer():
    from viztracer import VizTracer

    tracer = VizTracer(verbose=0)
    tracer.start()
    try:
        yield
    finally:
        tracer.stop()
        tracer.clear()


@contextlib.contextmanager
def trace0():
    from trace0 import Tracer

    with tempfile.TemporaryDirectory() as where, Tracer(os.path.join(where, "trace")):
        yield


TOOLS = {
    "python": python_callback,
    "cProfile": profile,
    "viztracer": viztracer,
    "trace0": trace0,
}


def run(loop, turns, tool=None):
    with TOOLS[tool]() if tool else contextlib.nullcontext():
        start = time.thread_time_ns()
        inner = loop(turns)
        took = time.thread_time_ns() - start
    return took if inner is None else inner


def wait():
    end = time.monotonic() + 30
    while not monitored():
        if time.monotonic() > end:
            return "never"
        time.sleep(0.01)
    return "ok"


def main(module, name, shape="", size=0):
    if module:
        importlib.import_module(module)
    loop = LOOPS[name]
    if shape == "functions":
        loop = with_functions(int(size))
    elif shape == "threads":
        loop = in_threads(loop, int(size))
    serve(loop, int(size) if shape == "depth" else 0)


def serve(loop, depth):
    """Answers stdin, below a stack of `depth` more frames."""
    if depth:
        serve(loop, depth - 1)
        return
    for line in sys.stdin:
        command, *words = line.split()
        answer = wait() if command == "wait" else run(loop, int(words[0]), *words[1:])
        print(answer, flush=True)


main(*sys.argv[1:])
