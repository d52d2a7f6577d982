"""Tracers that come and go, hundreds of times, while the program forks, its threads die and
its settings change.
"""

import json
import random
import subprocess
import time

from conftest import PROGRAMS, needs_tracer
from tracer import Bpftrace
from uprobe import Uprobe

pytestmark = needs_tracer

ROUNDS = 300  # of the kernel's tracer
BPFTRACES = 6  # beside them; half of them are killed
# Changes settings from outside until stdin ends.
CHANGE = """
import json, random, sys, threading, time
from pyusdt import control
pid, texts = int(sys.argv[1]), json.loads(sys.argv[2])
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
chance = random.Random(5)
changes = 0
while not ended.is_set():
    new = control.configure(pid, include=chance.choice(texts), exclude=chance.choice(texts),
                            slow_usec=chance.choice([0, 50, 10000]),
                            value_max=chance.choice([16, 4096]))
    assert len(new) == 5, new
    changes += 1
    time.sleep(chance.choice([0, 0.1, 0.4]))
control.configure(pid, include="", exclude="")
print(changes)
"""
PATTERNS = ["", "", "fib", "*.fib,numbers", "work,once,*storm.py", "<frozen *>", "*"]


def outside(python, pid):
    return subprocess.Popen(
        [python.path, "-c", CHANGE, str(pid), json.dumps(PATTERNS)],
        env=python.env(PYUSDT_DISABLE="1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_storm(python):
    """It ends with the right result, no tool id held, no event on or disabled, and no memory
    lost."""
    chance = random.Random(4)
    probes = sorted({**python.probes, **python.others})
    process = subprocess.Popen(
        [python.path, "-W", "ignore", "-m", "pyusdt", str(PROGRAMS / "storm.py")]
        + [json.dumps(PATTERNS)],
        env=python.env(PYUSDT_CHECK_MSEC="10"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ask(word):
        process.stdin.write(word + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def bpftrace():
        name = chance.choice(probes)
        trace = Bpftrace(f'usdt:"{python.lib}":pyusdt:{name} {{ @ = count(); }}')
        trace.__enter__()
        return trace

    changer = outside(python, process.pid)
    hits = 0
    resident = []
    try:
        traces = []
        for number in range(ROUNDS):
            if number % (ROUNDS // BPFTRACES) == 0:
                traces.append(bpftrace())
                if len(traces) > 1:
                    old = traces.pop(0)
                    old.kill() if chance.random() < 0.5 else old.stop()
            names = chance.sample(probes, chance.randint(1, 3))
            opened = [Uprobe(python.lib, name, chance.choice([-1, process.pid])) for name in names]
            try:
                for probe in opened:
                    probe.__enter__()
                time.sleep(chance.choice([0, 0, 0.01, 0.03]))
                hits += sum(probe.count() for probe in opened)
            finally:
                for probe in opened:
                    probe.__exit__()
            if number % 30 == 29:
                resident.append(ask("report")["kb"])
        traces.pop().stop()
        changes, failure = changer.communicate(timeout=60)
        end = ask("stop")
        counts = json.loads(process.stdout.readline())
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    finally:
        for child in changer, process:
            child.kill()
            child.wait()
    assert failure == ""
    assert end["tools"] == [None] * 6
    assert end["events"] == []
    assert hits > 1000
    assert min(counts["children"], counts["rounds"], counts["changes"], int(changes)) > 20
    assert counts["next"] == [30] * 6
    # The first third fills caches; after it the program may not grow by a tenth.
    settled = max(resident[:4])
    assert max(resident) <= settled * 1.1, resident
