"""How soon a tracer is served, and how soon nothing is left of it, in a CPU-bound program."""

import os
import random
import select
import subprocess
import sys
import time

import place
from notes import Elf
from table import Refusal, Row, Section
from tracer import Bpftrace

# Our watcher listens for tracers from two seconds after the import on.
SETTLE_SECONDS = 2.3


class Spinner:
    """workloads/spin.py with our library or the peer's."""

    def __init__(self, python: str, module: str, lib: str, **env: str):
        self.lib = os.path.realpath(lib)
        note = next(n for n in Elf(self.lib).notes() if n.name == "PY_START")
        self.process = subprocess.Popen(
            [python, str(place.WORKLOADS / "spin.py"), module, str(note.semaphore)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=place.environment(**env),
        )
        self.address = int(self._line())

    def _line(self) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        if not ready:
            raise Refusal(f"the program did not notice a change of {self.lib}")
        line = self.process.stdout.readline().strip()
        if not line:
            raise Refusal("workloads/spin.py died")
        return line

    def begin(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self._line() == "spinning"
        # The moment of a change must not follow the watcher's clock.
        time.sleep(random.uniform(0.02, 0.15))

    def milliseconds(self) -> float:
        return int(self._line()) / 1e6

    def set(self, value: int) -> None:
        """As bpftrace before the kernel did it: by writing the program's memory."""
        with open(f"/proc/{self.process.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(self.address)
            memory.write(value.to_bytes(2, sys.byteorder))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def by_hand(spinner: Spinner, times: int, look: bool) -> tuple[list[float], list[float]]:
    on, off = [], []
    for _ in range(times):
        spinner.begin("on")
        if look:  # as every tracer does before it attaches
            with open(spinner.lib, "rb") as file:
                file.read(64)
            time.sleep(0.02)
        spinner.set(1)
        on.append(spinner.milliseconds())
        spinner.begin("off")
        spinner.set(0)
        off.append(spinner.milliseconds())
    return on, off


def by_bpftrace(spinner: Spinner, times: int) -> tuple[list[float], list[float]]:
    on, off = [], []
    script = f'usdt:"{spinner.lib}":pyusdt:PY_START {{ @ = count(); }}'
    for _ in range(times):
        spinner.begin("on")
        with Bpftrace(script):
            on.append(spinner.milliseconds())
            spinner.begin("off")
        off.append(spinner.milliseconds())
    return on, off


# Prints the milliseconds that each change of the settings took until it was in force.
CONFIGURE = """
import random, sys, time
from pyusdt import control
for i in range(int(sys.argv[2])):
    time.sleep(random.uniform(0.02, 0.15))
    start = time.monotonic_ns()
    control.configure(int(sys.argv[1]), exclude=f"f{i}")
    print((time.monotonic_ns() - start) / 1e6)
"""


def settings(quick: bool) -> Section:
    section = Section(
        "Settings from outside",
        "pyusdt.control.configure() from its call until it says that the new filter is in force, "
        "ms; the watcher looks every 100 ms" + place.busy(),
    )
    spinner = Spinner(sys.executable, "pyusdt", place.ours(), PYTHONPATH=str(place.ROOT))
    env = place.environment(PYTHONPATH=str(place.ROOT), PYUSDT_DISABLE="1")

    def changes() -> list[float]:
        command = [sys.executable, "-c", CONFIGURE, spinner.process.pid, 5 if quick else 30]
        return [float(line) for line in place.run(command, env=env).split()]

    try:
        time.sleep(SETTLE_SECONDS)
        section.rows.append(Row("a program that waits, untraced", changes(), "ms", target=100))
        spinner.begin("on")
        spinner.set(1)
        spinner.milliseconds()
        spinner.begin("off")  # it calls, and is traced, until the semaphore falls
        row = Row("a CPU-bound program, PY_START traced", changes(), "ms", target=100)
        section.rows.append(row)
        spinner.set(0)
        spinner.milliseconds()
    finally:
        spinner.close()
    return section


def latency(quick: bool) -> Section:
    section = Section(
        "Attach and detach",
        "a CPU-bound program; from the semaphore's change to the event registered (the next "
        "call fires the probe), and to no event registered, ms" + place.busy(),
    )
    spinners = {"": Spinner(sys.executable, "pyusdt", place.ours(), PYTHONPATH=str(place.ROOT))}
    found = place.peer()
    if found is not None:
        spinners[", peer"] = Spinner(str(found[0]), "libpyusdt", found[1])
    try:
        # An idle moment between the two: each gets a processor.
        time.sleep(SETTLE_SECONDS)
        samples = {}
        for who, spinner in spinners.items():
            samples[who] = (
                *by_bpftrace(spinner, 3 if quick else 10),
                *by_hand(spinner, 5 if quick else 20, look=True),
            )
        # Nobody has looked at the library for a while.
        time.sleep(SETTLE_SECONDS)
        for who, spinner in spinners.items():
            samples[who] += by_hand(spinner, 5 if quick else 20, look=False)
    finally:
        for spinner in spinners.values():
            spinner.close()
    names = [
        "bpftrace attaches",
        "bpftrace leaves",
        "semaphore raised by hand, library opened before",
        "semaphore lowered by hand, the same",
        "semaphore raised by hand, library not opened",
        "semaphore lowered by hand, the same again",
    ]
    for i, name in enumerate(names):
        row = Row(name, samples[""][i], "ms", target=10 if i in (0, 2) else None)
        section.rows.append(row)
        if ", peer" in samples:
            section.rows.append(Row(name + ", peer", samples[", peer"][i], "ms"))
    return section
