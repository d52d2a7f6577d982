"""Garbage in cycles, collected by hand; prints what each run of the collector found."""

import gc
import json
import time

gc.disable()


def cycles(n):
    for _ in range(n):
        one = []
        one.append(one)


found = []
for generation, n in (0, 10), (1, 20), (2, 30):
    cycles(n)
    begin = time.monotonic_ns()
    freed = gc.collect(generation)
    found.append([generation, freed, time.monotonic_ns() - begin])
print(json.dumps(found), flush=True)
