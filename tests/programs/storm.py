"""Eight threads that work, one that changes settings, and a main thread that forks every
50 ms, until told to stop.

Prints one line of JSON for each line it is sent, until it is sent "stop"; ends with 0 only
if every result, in threads and in children, was right.
"""

import json
import os
import random
import sys
import threading
import time

import pyusdt

PATTERNS = json.loads(sys.argv[1])


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
changes = 0


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


def change():
    global changes
    chance = random.Random(6)
    while not stop.is_set():
        new = pyusdt.configure(
            include=chance.choice(PATTERNS),
            exclude=chance.choice(PATTERNS),
            slow_usec=chance.choice([0, 50, 10000]),
            value_max=chance.choice([16, 4096]),
        )
        changes += len(new) == 5
        time.sleep(chance.choice([0, 0.1, 0.4]))
    pyusdt.configure(include="", exclude="")


def seen_by_the_next_tool():
    """How many starts and returns of fib() any tool id sees: 15 calls have 30."""
    events = sys.monitoring.events
    counts = []
    for tool in range(6):
        seen = []
        sys.monitoring.use_tool_id(tool, "next")
        for event in events.PY_START, events.PY_RETURN:
            sys.monitoring.register_callback(
                tool, event, lambda *args, seen=seen: seen.append(args)
            )
        sys.monitoring.set_events(tool, events.PY_START | events.PY_RETURN)
        fib(5)
        sys.monitoring.free_tool_id(tool)
        counts.append(sum(code is fib.__code__ for code, *_ in seen))
    return counts


def commands():
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        report()
    stop.set()


threads = [threading.Thread(target=loop, args=(i,)) for i in range(8)]
changer = threading.Thread(target=change)
for t in [*threads, changer, threading.Thread(target=commands)]:
    t.start()
while not stop.is_set():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work() == RIGHT else 9)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        wrong.append("child")
    children += 1
    time.sleep(0.05)
for t in [*threads, changer]:
    t.join()
end = time.monotonic() + 10
while any(sys.monitoring.get_tool(i) for i in range(6)) and time.monotonic() < end:
    time.sleep(0.01)
report()
counts = {"rounds": sum(rounds), "children": children, "changes": changes}
print(json.dumps({**counts, "next": seen_by_the_next_tool()}), flush=True)
sys.exit(len(wrong))
