"""Stops at every kind of place in a stack, and tells what sys._getframe() says of it.

At each stop it writes a line of JSON to stdout: {name, pid, stacks: {thread id: frames}},
frames = [[qualname, file, line], ...] above the one that waits; then it reads a byte.
"""

import json
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))

signal.alarm(60)  # whoever waits for it does so no longer


def frames(frame):
    found = []
    while frame is not None:
        found.append([frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return found


def stop(name, others=()):
    """The stack of this thread begins with this function, which the reader leaves out."""
    stacks = {threading.get_ident(): frames(sys._getframe(1))}
    current = sys._current_frames()
    for thread in others:
        stacks[thread] = frames(current[thread])
    text = json.dumps({"name": name, "pid": os.getpid(), "stacks": stacks})
    os.write(1, text.encode() + b"\n")
    os.read(0, 1)


def nested(depth):
    if depth == 0:
        stop("nested")
        return 1
    return nested(depth - 1) + 1


def generator():
    yield 1
    stop("generator")
    yield from inner_generator()


def inner_generator():
    stop("yield from")
    yield 2


async def coroutine():
    await inner_coroutine()


async def inner_coroutine():
    stop("coroutine")


def key(value):
    if value == 2:
        stop("sort key")
    return value


class Class:
    stop("class body")

    def __init__(self):
        stop("constructor")

    @property
    def attribute(self):
        return stop("property")

    def __repr__(self):
        stop("repr")
        return "Class"


def ünïcødé_ж_𐐨():
    stop("names")


def latin_é():
    stop("latin")


def thread_main(ready, leave):
    def waits():
        ready.set()
        leave.acquire()

    [waits() for _ in range(1)]


def threads():
    started = []
    for _ in range(3):
        ready, leave = threading.Event(), threading.Lock()
        leave.acquire()
        thread = threading.Thread(target=thread_main, args=(ready, leave))
        thread.start()
        ready.wait()
        started.append((thread, leave))
    idents = [thread.ident for thread, _ in started]
    # Until each is asleep in acquire(): its line may still be that of ready.set().
    while any(
        sys._current_frames()[i].f_code.co_name != "waits"
        or sys._current_frames()[i].f_lineno != waits_line()
        for i in idents
    ):
        pass
    stop("threads", idents)
    for thread, leave in started:
        leave.release()
        thread.join()


def waits_line():
    return thread_main.__code__.co_firstlineno + 3


def in_thread():
    thread = threading.Thread(target=stop, args=("thread",))
    thread.start()
    thread.join()


def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        stop("forked child")
        os._exit(0)
    os.waitpid(child, 0)


def subinterpreter():
    try:
        import _interpreters

        create = _interpreters.create
    except ImportError:
        import _xxsubinterpreters as _interpreters

        create = _interpreters.create
    number = create()
    source = open(__file__).read().partition("# ---" + "- the run")[0]
    code = f"__file__ = {__file__!r}\n" + source
    code += "\ndef function():\n    stop('subinterpreter')\nfunction()\n"
    _interpreters.run_string(number, code)
    _interpreters.destroy(number)
    stop("after the subinterpreter")


# ---- the run ----

if __name__ == "__main__":
    import pyusdt

    nested(30)
    list(generator())
    sorted([3, 2, 1], key=key)
    list(map(key, [2]))
    try:
        coroutine().send(None)
    except StopIteration:
        pass
    Class().attribute
    repr([Class()])
    ünïcødé_ж_𐐨()
    latin_é()
    exec(compile("def made():\n\n\n    stop('exec')\nmade()", "<made>", "exec"))
    [stop("comprehension") for _ in range(1)]
    list(stop("generator expression") for _ in range(1))
    (lambda: stop("lambda"))()
    fork()
    threads()
    in_thread()
    subinterpreter()
    try:
        raise ValueError
    except ValueError:
        stop("except")
    finally:
        stop("finally")
    sys.setrecursionlimit(20000)
    nested(900)
