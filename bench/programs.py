"""Whole programs, without pyusdt, with it untraced, and with it traced."""

import contextlib
import json
import re
import sys
from pathlib import Path

import place
from table import Refusal, Row, Section
from tracer import Bpftrace

# Of pyperformance: calls of small methods, C code, arithmetic, coroutines.
PYPERFORMANCE = ["deltablue", "json_dumps", "nbody", "async_generators"]
FIB = 18
STATES = ["without", "untraced", "traced"]
NAMES = {"without": "without pyusdt", "untraced": "with it, untraced", "traced": "traced PY_START"}


def count_starts() -> Bpftrace:
    return Bpftrace(f'usdt:"{place.ours()}":pyusdt:PY_START {{ @ = count(); }}')


def rows(program: str, values: dict[str, list[float]], unit: str) -> list[Row]:
    first = Row(f"{program}: {NAMES['without']}", values["without"], unit)
    return [first] + [
        Row(f"{program}: {NAMES[state]}", values[state], unit, reference=first)
        for state in STATES[1:]
    ]


# ---- instructions ----


def instructions(module: str, times: int) -> int:
    """Of a whole run of fib.py, all threads, by callgrind."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    program = [place.WORKLOADS / "fib.py", module, times, 14]
    env = place.environment(PYTHONHASHSEED="0", PYTHONPATH=str(place.ROOT))
    found = re.search(r"Collected : (\d+)", place.run([*command, *program], env=env))
    if found is None:
        raise Refusal("valgrind counted nothing")
    return int(found[1])


def untraced(quick: bool) -> Section:
    section = Section(
        "Loaded, no tracer",
        "instructions of 40 calls of fib(14), 48,760 calls in all, counted by callgrind as the "
        "difference of two runs of the whole program, the watcher's thread included",
    )
    values = {}
    for module in ("", "pyusdt"):
        values[module] = [
            instructions(module, 41) - instructions(module, 1) for _ in range(1 if quick else 3)
        ]
    without = Row("without pyusdt", values[""], "instructions")
    loaded = Row("with it", values["pyusdt"], "instructions", reference=without, target=1.000)
    section.rows = [without, loaded]
    return section


# ---- fib ----


def fib_times(module: str, times: int) -> list[float]:
    env = place.environment(PYTHONPATH=str(place.ROOT))
    out = place.run([sys.executable, place.WORKLOADS / "fib.py", module, times, FIB], env=env)
    return [int(line) / 1e6 for line in out.split()]


def fib(rounds: int) -> list[Row]:
    values = {state: [] for state in STATES}
    for _ in range(rounds):
        values["without"] += fib_times("", 10)
        values["untraced"] += fib_times("pyusdt", 10)
        with count_starts() as trace:
            values["traced"] += fib_times("pyusdt", 10)
        if trace.map() < 10 * 8361:
            raise Refusal(f"fib: bpftrace counted {trace.map()} calls only")
    return rows(f"fib({FIB})", values, "ms")


# ---- pyperformance ----


def benchmark(name: str, out: Path, state: str, loops: Path | None) -> list[float]:
    """One run of pyperformance's runner."""
    python, _ = place.tools()
    env = place.environment()
    if state != "without":
        env["PYTHONPATH"] = f"{place.WORKLOADS / 'site'}:{place.ROOT}"
    command = [python, "-m", "pyperformance", "run", "--inherit-environ", "PYTHONPATH"]
    command += ["-b", name, "-o", out, "--fast"]
    if loops is not None:
        command += ["--same-loops", loops]
    # It makes an environment for what it measures in the directory it runs in.
    place.BUILD.mkdir(parents=True, exist_ok=True)
    place.run(command, env=env, cwd=place.BUILD)
    return values_of(json.loads(out.read_text()))


def pyperformance(name: str) -> list[Row]:
    _, failed = place.tools()
    if "pyperformance" in failed:
        return [Row(name, note=failed["pyperformance"])]
    place.say(f"pyperformance: {name}")
    values = {}
    for state in STATES:
        out = place.work() / f"{name}-{state}.json"
        # The same work untraced; traced, so many turns would take minutes.
        loops = place.work() / f"{name}-without.json" if state == "untraced" else None
        with count_starts() if state == "traced" else contextlib.nullcontext() as trace:
            values[state] = benchmark(name, out, state, loops)
        if trace is not None and trace.map() == 0:
            raise Refusal(f"{name}: bpftrace counted nothing")
    return rows(name, values, "ms")


def values_of(report: dict) -> list[float]:
    """The times in ms in the file of one benchmark."""
    (only,) = report["benchmarks"]
    return [value * 1e3 for run in only["runs"] for value in run.get("values", [])]


def programs(quick: bool) -> Section:
    section = Section(
        "Programs",
        "fib(), which does nothing but call, in CPU time; the benchmarks of pyperformance by its "
        "own runner, in time by the clock" + place.busy(),
    )
    section.rows = fib(1 if quick else 5)
    if quick:
        section.rows.append(Row("pyperformance", note="left out of a quick run"))
    else:
        for name in PYPERFORMANCE:
            section.rows += pyperformance(name)
    return section
