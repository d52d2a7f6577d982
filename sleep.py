"""A small program to trace: it sleeps and returns values worth a look.

    python -m pyusdt sleep.py [SECONDS]

runs for SECONDS, or until Ctrl-C.
"""

import contextlib
import sys
import time


class Order:
    def __init__(self, number):
        self.number = number

    def total(self):
        return self.number * 1.25


def orders():
    number = 1
    while True:
        yield Order(number)
        number += 1


def nap(seconds):
    time.sleep(seconds)
    return f"slept {seconds} s"


def handle(order):
    nap(0.2)
    return {"order": order.number, "total": order.total()}


def main(seconds):
    end = time.monotonic() + seconds
    for order in orders():
        handle(order)
        if time.monotonic() >= end:
            return


with contextlib.suppress(KeyboardInterrupt):
    main(float(sys.argv[1]) if len(sys.argv) > 1 else float("inf"))
