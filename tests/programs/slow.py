"""Calls that are fast, slow, and slow in different ways; says how long the slow ones took.

Each line: name, runs, and for each slow run the nanoseconds within it (which the probe's
time must reach) and around it (which it must not exceed).
"""

import asyncio
import json
import sys
import threading
import time

REST = float(sys.argv[1])  # seconds: far above the threshold
records = []
clock = time.perf_counter_ns


def rest(seconds=REST):
    before = clock()
    time.sleep(seconds)
    return clock() - before


def around(name, function, *args):
    before = clock()
    try:
        inner = function(*args)
    except RuntimeError as error:
        inner = error.args[0]
    records.append((name, inner, clock() - before))


def fast(n):
    return n + 1


def plain():
    return rest()


def raiser():
    raise RuntimeError(rest())


def recursive(n):
    return rest() if n == 0 else recursive(n - 1)


def in_thread():
    def threaded():
        return rest()

    thread = threading.Thread(target=lambda: around("in_thread.<locals>.threaded", threaded))
    thread.start()
    thread.join()


def one_slow_run():
    yield 1
    inner = rest()
    yield inner
    yield 3


def many_short_runs():
    total = 0
    for _ in range(8):
        total += rest(REST / 4)
        yield total
    yield total


async def coroutine():
    inner = rest()
    await asyncio.sleep(REST)
    return inner


class Thing:
    def method(self):
        return rest()


for i in range(5000):
    fast(i)
around("plain", plain)
around("raiser", raiser)
around("recursive", recursive, 3)
in_thread()
generator = one_slow_run()
next(generator)
around("one_slow_run", next, generator)
time.sleep(REST)  # it is suspended: nobody's time
list(generator)
around("many_short_runs", lambda: list(many_short_runs())[-1])
around("coroutine", asyncio.run, coroutine())
around("Thing.method", Thing().method)
for i in range(5000):
    fast(i)
json.dump(records, sys.stdout)
