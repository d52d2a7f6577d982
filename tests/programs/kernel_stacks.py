"""Writes its own stack down, by sys._current_frames(), and calls write(2) at once: of as
many bytes as the stack has number.  Prints all of them as JSON.

The stack that a tracer sees in that write() is the one that was written down.
"""

import asyncio
import faulthandler
import functools
import io
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time

NUMBER = 1000  # of the file that is written to
stacks = []


def stack_of(thread):
    frame, found = sys._current_frames()[thread], []
    while frame is not None:
        code = frame.f_code
        found.append([code.co_qualname, code.co_filename, code.co_firstlineno])
        frame = frame.f_back
    return found[::-1]


def check(*unused):
    # stack_of() has returned when the write is made.
    found = stack_of(threading.get_ident())[:-1]
    stacks.append(found)
    os.write(NUMBER, b"x" * len(stacks))
    return 0


def nested():
    def inner():
        check()

    inner()


def generator():
    check()
    yield 1
    check()


def delegates():
    yield from generator()


async def coroutine():
    check()
    await asyncio.sleep(0)
    check()


async def awaits():
    await coroutine()
    await asyncio.gather(coroutine(), asyncio.create_task(coroutine()))
    await asyncio.to_thread(check)
    async for _ in asynchronous():
        check()


async def asynchronous():
    check()
    yield 1


class Everything:
    def __init__(self):
        check()

    def __del__(self):
        check()

    def __enter__(self):
        check()

    def __exit__(self, *exc):
        check()

    def __getattr__(self, name):
        check()
        return name

    @property
    def property(self):
        check()

    @classmethod
    def classmethod(cls):
        check()

    def __lt__(self, other):
        check()
        return False


class Derived(Everything):
    def __init__(self):
        super().__init__()
        check()


def exceptions():
    try:
        raise ValueError
    except ValueError:
        check()
    finally:
        check()


def recursive(n):
    if n:
        return recursive(n - 1)
    return check()


def größe():
    check()


def 日本():
    größe()
    check()


def 𐤀():
    日本()


def long():
    check()


LENGTHS = (99, 100, 255, 256)  # around the limits of bpftrace's texts


def of_length(n):
    """Calls long() under a name and in a file of n bytes."""
    name, file = "f" * n, "/" + "d" * (n - 1)
    exec(compile(f"def {name}(): long()\n{name}()", file, "exec"), {"long": long})


def closes():
    one = delegates()
    next(one)
    one.close()
    two = generator()
    next(two)
    try:
        two.throw(KeyError)
    except KeyError:
        check()


def everything():
    class Body:
        check()

    check()
    nested()
    list(generator())
    list(delegates())
    closes()
    asyncio.run(awaits())
    with Everything() as _:
        check()
    one = Derived()
    one.missing
    one.property
    Everything.classmethod()
    sorted([one, Everything()])
    del one
    sorted([2, 1], key=check)
    list(map(check, [1]))
    re.sub("a", lambda match: str(check()), "aa")
    functools.partial(check, 1)()
    functools.reduce(check, [1, 2])
    [check() for _ in range(2)]
    list(check() for _ in range(2))
    exceptions()
    for depth in (1, 10, 60):
        recursive(depth)
    𐤀()
    for length in LENGTHS:
        of_length(length)
    exec("def made(): check()\nmade()", {"check": check})
    eval("check()")
    signal.signal(signal.SIGUSR1, check)
    signal.raise_signal(signal.SIGUSR1)
    threads = [threading.Thread(target=function) for function in (check, nested, 日本)]
    for thread in threads:
        thread.start()
        thread.join()


def sleeps(file):
    os.read(file, 1)


def asleep():
    """The stack of a thread that waits in read(2), by faulthandler as well."""
    reader, writer = os.pipe()
    thread = threading.Thread(target=sleeps, args=(reader,))
    thread.start()
    status = f"/proc/self/task/{thread.native_id}/"
    for _ in range(10000):
        with open(status + "syscall") as file:
            if file.read().startswith(("0 ", "63 ")):  # read(2)
                break
        time.sleep(0.001)
    found = stack_of(thread.ident)
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        text = file.read()
    os.write(writer, b"x")
    thread.join()
    one = next(part for part in text.split("\n\n") if "in sleeps" in part)
    by_faulthandler = re.findall(r"^  File .* in (\S+)$", one, re.MULTILINE)
    return thread.native_id, found, by_faulthandler[::-1]


def main():
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, NUMBER)
    if "hold" in sys.argv:
        print(os.getpid(), flush=True)
        sys.stdin.readline()
    if "fork" in sys.argv and (child := os.fork()):
        print(child, flush=True)
        os.waitpid(child, 0)
        return
    if "fork" in sys.argv:
        sys.stdin.readline()
    everything()
    out = io.open(1, "w", closefd=False)
    json.dump({"stacks": stacks, "asleep": asleep()}, out)
    out.flush()


main()
