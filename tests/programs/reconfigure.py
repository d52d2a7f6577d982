"""Changes its own filters while functions run, sleep, recurse, and are suspended."""

import random
import sys
import threading
import time

import pyusdt

FILTERS = ["", "*", "a*", "b*,recur", "*gen*", "sleeper", "*.method", "worker"]
chance = random.Random(int(sys.argv[1]))


def change():
    pyusdt.configure(
        exclude=chance.choice(FILTERS),
        include=chance.choice(["", "", "*e*", "<module>,a*,change"]),
        slow_usec=chance.choice([0, 1000, 10000]),
        value_max=chance.choice([16, 128, 4096]),
    )


def a_leaf(n):
    return n + 1


def b_raiser(n):
    if n % 3 == 0:
        raise ValueError(n)
    return a_leaf(n)


def recur(n):
    if n == 3:
        change()
    if n > 0:
        recur(n - 1)
    a_leaf(n)


def gen():
    for i in range(4):
        yield a_leaf(i)
        if i == 2:
            change()


class Thing:
    def method(self, n):
        try:
            return b_raiser(n)
        except ValueError:
            change()
            return None


def sleeper():
    for _ in range(20):
        time.sleep(0.005)


def worker():
    for i in range(20):
        Thing().method(i)
        time.sleep(0.002)


threads = [threading.Thread(target=target) for target in (sleeper, worker, worker)]
for thread in threads:
    thread.start()
kept = gen()
next(kept)
for i in range(15):
    recur(6)
    list(gen())
    Thing().method(i)
    change()
for _ in kept:
    a_leaf(0)
for thread in threads:
    thread.join()
print(len(pyusdt.configure()))
