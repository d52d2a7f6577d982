"""A thread that spins and one that sleeps; prints [native id, CPU time in ns] of both."""

import json
import threading
import time

SECONDS = 0.2
seen = {}


def tick():
    pass


def spin():
    for _ in range(1000):
        tick()
    end = time.thread_time() + SECONDS
    while time.thread_time() < end:
        pass
    seen["spin"] = [threading.get_native_id(), time.thread_time_ns()]


def nap():
    tick()
    time.sleep(SECONDS)
    seen["nap"] = [threading.get_native_id(), time.thread_time_ns()]


threads = [threading.Thread(target=target) for target in (spin, nap)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(seen))
