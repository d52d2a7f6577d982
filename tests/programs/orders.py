"""Does a known number of calls, lines and collections for each order on its stdin.

    work EVENT...   waits until these events of sys.monitoring are registered by pyusdt,
                    then calls work(); without events it does not wait
    repeat NUMBER   calls work() so many times
    gc              collects the generations 0 to 1
    import NAME     imports a module
Each is answered by a line.
"""

import gc
import sys
import time

import pyusdt


def leaf(number):
    return number


def branch():
    leaf(1)
    leaf(2)


def numbers():
    yield 1
    yield 2


def work():
    for _ in range(10):
        branch()
    for _ in numbers():
        pass


def wait_for(events):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for tool in range(6):
            if sys.monitoring.get_tool(tool) == "pyusdt":
                if sys.monitoring.get_events(tool) & events == events:
                    return
        time.sleep(0.001)
    sys.exit("pyusdt never registered the events")


gc.disable()
with open("/proc/self/comm", "w") as comm:  # ustat looks for this name
    comm.write("python")
print("ready", flush=True)
for line in sys.stdin:
    order, *words = line.split()
    if order == "work":
        events = 0
        for word in words:
            events |= getattr(sys.monitoring.events, word)
        if events:
            wait_for(events)
        work()
    elif order == "repeat":
        for _ in range(int(words[0])):
            work()
    elif order == "gc":
        gc.collect(1)
    elif order == "import":
        try:
            __import__(words[0])
        except ImportError:
            pass
    print("done", flush=True)
