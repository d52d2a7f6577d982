"""A CPU-bound program that sees a tracer come and go: the traced side of bench/latency.py.

    spin.py MODULE ADDRESS

imports MODULE, whose library has the semaphore of PY_START at ADDRESS (of the
file), and prints where that semaphore is in its memory.  Answers the lines

    on    nanoseconds from the semaphore's rise until the event is registered
    off   the same from its fall until no event is

by "spinning" and, later, the number.
"""

import ctypes
import importlib
import os
import sys
import time

monitoring = sys.monitoring


def library(module):
    lib = getattr(importlib.import_module(module), "lib", None)
    return os.path.realpath(lib or sys.modules[module].__file__)


def where(path, address):
    with open("/proc/self/maps") as maps:
        first = next(line for line in maps if line.rstrip().endswith(path))
    return int(first.split("-")[0], 16) + address


def tools_with_events():
    on = 0
    for tool in range(6):
        if monitoring.get_tool(tool) is not None:
            on |= monitoring.get_events(tool)
    return on


def step():
    """The calls that are traced."""


def spin(semaphore, raised):
    while (semaphore.value != 0) != raised:
        step()
    start = time.monotonic_ns()
    while (tools_with_events() != 0) != raised:
        step()
    return time.monotonic_ns() - start


def main(module, address):
    place = where(library(module), int(address))
    semaphore = ctypes.c_uint16.from_address(place)
    print(place, flush=True)
    for line in sys.stdin:
        print("spinning", flush=True)
        print(spin(semaphore, line.strip() == "on"), flush=True)


main(*sys.argv[1:])
