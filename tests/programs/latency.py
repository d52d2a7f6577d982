"""Functions that take a known time; prints the longest time of each call seen from outside."""

import json
import time

SLEEP = 0.02
outside = {}


def timed(function, *args):
    begin = time.monotonic_ns()
    function(*args)
    ns = time.monotonic_ns() - begin
    outside[function.__qualname__] = max(ns, outside.get(function.__qualname__, 0))


def leaf():
    time.sleep(SLEEP)


def recursive(n):
    if n == 0:
        leaf()
    else:
        recursive(n - 1)


def generator():
    for i in range(3):
        time.sleep(SLEEP)
        yield i


def fails():
    time.sleep(SLEEP)
    raise LookupError("late")


def catches():
    try:
        fails()
    except LookupError:
        pass


class Shop:
    def order(self):
        return [leaf() for _ in range(2)]


for _ in range(3):
    timed(leaf)
timed(recursive, 4)
g = generator()
for _ in range(4):
    timed(next, g, None)
timed(catches)
timed(Shop().order)
print(json.dumps(outside))
