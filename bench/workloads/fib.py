"""fib.py MODULE TIMES N: fib(N), TIMES times, with MODULE imported ("" for none).

Prints the nanoseconds of CPU time of each.
"""

import importlib
import sys
import time


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def main(module, times, n):
    if module:
        importlib.import_module(module)
    for _ in range(int(times)):
        start = time.thread_time_ns()
        fib(int(n))
        print(time.thread_time_ns() - start, flush=True)


main(*sys.argv[1:])
