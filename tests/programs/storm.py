"""Eight threads that work and a main thread that forks every 50 ms, until told to stop.

Prints one line of JSON for each line it is sent, until it is sent "stop"; ends with 0 only
if every result, in threads and in children, was right.
"""

import json
import os
import sys
import threading
import time


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def numbers(n):
    for i in range(n):
        try:
            if i % 3 == 0:
                raise ValueError(i)
            yield i
        except ValueError as error:
            yield -error.args[0]


def work():
    return fib(10) + sum(numbers(50)) + len(sorted(range(20), key=lambda x: -x))


RIGHT = work()
stop = threading.Event()
wrong = []
rounds = [0] * 8
children = 0


def loop(index):
    while not stop.is_set():
        thread = threading.Thread(target=once)  # threads that start and die
        thread.start()
        once()
        thread.join()
        rounds[index] += 1


def once():
    if work() != RIGHT:
        wrong.append("thread")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


def report():
    tools = [sys.monitoring.get_tool(i) for i in range(6)]
    events = [sys.monitoring.get_events(i) for i in range(6) if tools[i]]
    print(json.dumps({"tools": tools, "events": events, "kb": resident()}), flush=True)


def commands():
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        report()
    stop.set()


threads = [threading.Thread(target=loop, args=(i,)) for i in range(8)]
for t in [*threads, threading.Thread(target=commands)]:
    t.start()
while not stop.is_set():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work() == RIGHT else 9)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        wrong.append("child")
    children += 1
    time.sleep(0.05)
for t in threads:
    t.join()
end = time.monotonic() + 10
while any(sys.monitoring.get_tool(i) for i in range(6)) and time.monotonic() < end:
    time.sleep(0.01)
report()
print(json.dumps({"rounds": sum(rounds), "children": children}), flush=True)
sys.exit(len(wrong))
