"""What one event costs: workers run a loop, untraced and traced in turns, and are compared.

The cost of an event is (CPU time traced - least CPU time untraced) / events, the
number of events being the tracer's own count.
"""

import contextlib
import platform
import subprocess
import sys
from pathlib import Path

import place
from table import Refusal, Row, Section
from tracer import Bpftrace, version
from workloads.loops import HEAVY

COUNT = "@{map} = count();"
MARKS = ("MARK", "SPAN_BEGIN", "SPAN_END")  # no event feeds them


class Worker:
    """A process that runs a loop on command."""

    def __init__(
        self, command: list, probe: str = "", events: bool = True, fires: bool = True, **env: str
    ):
        self.probe = probe  # of a tracer; "" for none
        self.events = events  # has to register events first
        self.fires = fires  # in each turn; False: a turn is what costs
        self.base: list[float] = []  # ns a turn
        self.traced: list[float] = []
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=place.environment(**env),
        )

    def ask(self, line: str) -> str:
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise Refusal(f"a measured program died: {' '.join(map(str, self.process.args))}")
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Limit(Worker):
    """bench/limit.c."""

    def __init__(self, program: Path):
        super().__init__([program], f'usdt:"{program}":limit:hit', events=False)

    def run(self, turns: int, tool: str = "") -> int:
        return int(self.ask(str(turns)))


class Python(Worker):
    """workloads/worker.py under some interpreter, with some module imported."""

    def __init__(self, python: list, module: str, loop: str, *shape: str, **options):
        options.setdefault("events", module != "")
        worker = [place.WORKLOADS / "worker.py"] if len(python) == 1 else ["-c", in_one()]
        super().__init__([*python, *worker, module, loop, *shape], **options)

    def run(self, turns: int, tool: str = "") -> int:
        return int(self.ask(f"run {turns} {tool}"))


def in_one() -> str:
    """The worker as one text, for an interpreter that cannot see our files."""
    loops = (place.WORKLOADS / "loops.py").read_text()
    worker = (place.WORKLOADS / "worker.py").read_text()
    return (
        "import sys, types\n"
        "loops = sys.modules['loops'] = types.ModuleType('loops')\n"
        f"exec({loops!r}, vars(loops))\n"
        f"exec({worker!r})\n"
    )


def ours(loop: str, *shape: str, **options) -> Python:
    site = f'usdt:"{place.ours()}":pyusdt:{loop}'
    root = str(place.ROOT)
    return Python([sys.executable], "pyusdt", loop, *shape, probe=site, PYTHONPATH=root, **options)


def alone(name: str, loop: str, probe: str, **options) -> Python:
    """With a library of its own, which no other program's tracer is attached to."""
    root, lib = place.package(name)
    if probe == "function__entry":
        site = f'usdt:"{root}/pyusdt/libpython-usdt-function.so":python:{probe}'
        options["PYUSDT_PYTHON_PROVIDER"] = "1"
    else:
        site = f'usdt:"{lib}":pyusdt:{probe}' if probe else ""
    if not probe:
        options["events"] = False
    return Python([sys.executable], "pyusdt", loop, probe=site, PYTHONPATH=str(root), **options)


def peer(loop: str) -> Python | None:
    found = place.peer()
    if found is None:
        return None
    python, lib = found
    return Python([python], "libpyusdt", loop, probe=f'usdt:"{lib}":pyusdt:{loop}')


def bare(loop: str, *shape: str) -> Python:
    """Without pyusdt, in the environment of the other tools."""
    return Python([place.tools()[0]], "", loop, *shape)


def measure(
    workers: dict[str, Worker | None],
    turns: int,
    repeats: int,
    action: str = COUNT,
    tools: dict[str, str] | None = None,
) -> dict[str, list[float]]:
    """Costs of an event in ns, by worker.

    All workers of a session run in turns, so that what else the machine does
    hits them alike; those that have a probe are traced together.
    """
    tools = tools or {}
    there = {name: worker for name, worker in workers.items() if worker is not None}
    with contextlib.ExitStack() as stack:
        for worker in there.values():
            stack.callback(worker.close)
        for _ in range(repeats):
            for worker in there.values():
                worker.base.append(worker.run(turns) / turns)
        maps = {w.probe: f"@m{i}" for i, w in enumerate(there.values()) if w.probe}
        script = "".join(
            f"{probe} {{ {action.format(map=name[1:])} }}\n" for probe, name in maps.items()
        )
        with Bpftrace(script, strlen=None) if script else contextlib.nullcontext() as trace:
            for worker in there.values():
                if worker.probe and worker.events and worker.ask("wait") != "ok":
                    raise Refusal(f"nobody in the program noticed the tracer of {worker.probe}")
            for _ in range(repeats):
                for name, worker in there.items():
                    worker.traced.append(worker.run(turns, tools.get(name, "")) / turns)
    costs = {}
    for name, worker in there.items():
        events = 1
        if worker.probe and worker.fires:
            sharing = sum(w.probe == worker.probe for w in there.values())
            seen = hits(trace, maps[worker.probe]) / (sharing * repeats * turns)
            events = round(seen)
            if not events or abs(seen / events - 1) > 0.05:
                raise Refusal(
                    f"{name}: bpftrace counted {seen:.3f} events a turn; does another program "
                    "use this checkout's library?"
                )
        least = min(worker.base)
        costs[name] = [(value - least) / events for value in worker.traced]
    return costs


def hits(trace: Bpftrace, name: str) -> int:
    """All events of a map, whatever its keys."""
    total = 0
    for line in trace.lines:
        left, colon, right = line.rpartition(": ")
        if colon and (left == name or left.startswith(name + "[")) and right.isdigit():
            total += int(right)
    return total


# ---- the sections ----


def tracers(limit: Path, turns: int, repeats: int) -> Section:
    """PY_START under bpftrace against the limit, the peer and the interpreter's own probe."""
    section = Section(
        "One call of an empty function",
        "added to one call in the thread that calls, ns; bpftrace counts PY_START, the other tools "
        "record the call",
    )
    _, failed = place.tools()
    tools = {
        "sys.monitoring callback in Python": "python",
        "cProfile": "cProfile",
        "viztracer": "viztracer",
        "trace0": "trace0",
    }
    workers = {
        "limit: C loop": Limit(limit),
        "PY_START": ours("PY_START"),
        "peer": peer("PY_START"),
    }
    workers.update({name: None if name in failed else bare("PY_START") for name in tools})
    costs = measure(workers, turns, repeats, tools=tools)
    costs["function__entry of CPython 3.15"] = own_probe(turns, repeats)
    rows = {name: Row(name, costs.get(name, [])) for name in [*workers, *costs]}
    first = rows["limit: C loop"]
    start = rows["PY_START"]
    for row in rows.values():
        row.reference = None if row is first else first
        if not row.values:
            row.note = failed.get(row.name, "not found here")
    start.target = 1.10
    if not rows["peer"].values:
        rows["peer"].note = "pyusdt==0.1.1 is not installable here"
    section.rows = list(rows.values())
    against = Row("PY_START, again", start.values, reference=rows["peer"], target=0.60)
    section.rows.append(against)
    return section


def own_probe(turns: int, repeats: int) -> list[float]:
    """Of CPython 3.15; alone, for every program of that interpreter fires it."""
    found = place.python_with_probe()
    if found is None:
        return []
    path, command = found
    worker = Python(command, "", "PY_START", probe=f'usdt:"{path}":python:function__entry')
    return measure({"own": worker}, turns, repeats)["own"]


def keyed(limit: Path, turns: int, repeats: int) -> Section:
    section = Section("Map keys", "PY_START with a key, ns an event")
    code = "arg6"
    if platform.machine() == "x86_64" and version() < (0, 27, 0):
        code = 'reg("r8")'
    for title, key in ((f"@[{code}]", code), ("@[str(arg0)]", "str(arg0)")):
        workers = {
            f"limit: C loop, {title}": Limit(limit),
            f"PY_START, {title}": ours("PY_START"),
        }
        if key == "str(arg0)":
            workers[f"peer, {title}"] = peer("PY_START")
        costs = measure(workers, turns, repeats, "@{map}[" + key + "] = count();")
        rows = [Row(name, costs.get(name, [])) for name in workers]
        for row in rows[1:]:
            row.reference = rows[0]
        section.rows += rows
    return section


def probes(limit: Path, names: list[str], turns: int, repeats: int) -> Section:
    section = Section(
        "Every probe",
        "ns an event, `@ = count()`; limit and peer ran in turns with the probe; what hangs on "
        "work many times as long as an event (GC_*, IMPORT_*) stands under Runtime",
    )
    of_peer = ("PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "CALL", "LINE")
    for name in names:
        if name in HEAVY:
            continue
        options = {"events": name not in MARKS}
        if name == "FUNC_SLOW":
            options["PYUSDT_SLOW_USEC"] = "0"
        workers = {
            "limit": Limit(limit),
            name: ours(name, **options),
            f"{name}, peer": peer(name) if name in of_peer else None,
        }
        costs = measure(workers, turns, repeats)
        reference = Row("the limit beside it", costs["limit"])
        row = Row(name, costs[name], reference=reference)
        section.rows.append(row)
        if f"{name}, peer" in costs:
            section.rows.append(Row(f"{name}, peer", costs[f"{name}, peer"], reference=row))
    return section


def scaling(turns: int, repeats: int, quick: bool) -> Section:
    section = Section("Scaling", "PY_START, ns an event, `@ = count()`")
    many = 10_000 if quick else 100_000
    shapes = {
        "threads": {1: "1 thread", 2: "2 threads", 4: "4 threads", 8: "8 threads"},
        "functions": {size: f"{size:,} distinct functions" for size in (10, 1000, many)},
        "depth": {10: "below 10 frames", 900: "below 900 frames"},
    }
    for shape, names in shapes.items():
        workers = {name: ours("PY_START", shape, str(size)) for size, name in names.items()}
        # Every function is called, and threads have more to do than to start.
        enough = max(turns, 40_000 if shape == "threads" else max(names))
        costs = measure(workers, enough, max(5, repeats * turns // enough))
        rows = [Row(name, values) for name, values in costs.items()]
        for row in rows[1:]:
            row.reference = rows[0]
        section.rows += rows
    return section
