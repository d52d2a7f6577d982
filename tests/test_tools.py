"""Every tool of tools/ against a program whose answers are known, under real bpftrace."""

import json
import os
import platform
import re
import subprocess
from collections import defaultdict

import pytest
from conftest import ROOT, tracer
from tracer import Bpftrace, semaphores_of, version

TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.bt"))
LIBRARY = "./libpyusdt.so"
MSEC = 1_000_000


class Tool(Bpftrace):
    """A tool as a user runs it: as it is, by a relative path of the library."""

    def __init__(self, python, name: str, *options: str):
        self.lib = python.lib
        script = (ROOT / "tools" / f"{name}.bt").read_text()
        assert LIBRARY in script
        script = script.replace(LIBRARY, "./" + os.path.relpath(python.lib))
        super().__init__(script, *options, ready=False, strlen=None)

    def _semaphores(self):
        names = set(re.findall(r"^usdt:[^:]+:pyusdt:(\w+)", self.script, re.MULTILINE))
        whole_system = not {"-p", "-c"} & set(self.options)
        return [(self.lib, n, semaphores_of(self.lib).value(n)) for n in names if whole_system]

    def __enter__(self):
        before = self._semaphores()
        super().__enter__()
        try:
            self.wait_for("Hit Ctrl-C to end.")
            self._wait_for_semaphores(before)
        except BaseException:
            self.stop()
            raise
        return self


class Found:
    """What a tool has printed: its lines, and its maps with the functions' names as keys.

    Of functions in files other than the program's own, the key is None.
    """

    def __init__(self, output: str, under: str):
        self.lines = output.split("\n")
        found = re.findall(r"^@(\w+)\[([^\]]+)\]:(?: (.*))?$", output, re.MULTILINE)
        self.where = {}
        self.names = {}  # whatever the file
        for name, key, value in found:
            if name == "where":
                function, file, *_ = value.strip("()").split(", ")
                self.names[key] = function
                self.where[key] = function if file.startswith(under) else None
        self.maps = defaultdict(dict)
        for name, key, value in found:
            if name != "where":
                self.maps[name][self.key(key)] = int(value) if value.isdigit() else value
        self.hists = defaultdict(dict)
        for name, key, rows in re.findall(
            r"^@(\w+)\[([^\]]+)\]: ?\n((?:[\[(].*\|.*\|\n?)+)", output, re.MULTILINE
        ):
            self.hists[name][self.key(key)] = [bucket(row) for row in rows.splitlines()]

    def key(self, text: str):
        parts = [self.where[part] if part in self.where else int(part) for part in text.split(", ")]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def table(self, name: str) -> dict:
        """A map without what is not the program's."""
        values = self.maps[name].items()
        return {
            key: value
            for key, value in values
            if key is not None and not (isinstance(key, tuple) and None in key)
        }

    def count(self, name: str, key) -> int:
        return sum(count for _, _, count in self.hists[name][key])


def bucket(row: str) -> tuple[int, float, int]:
    """(low, high, count) of a histogram's row: [2K, 4K)   7 |@@@@  |"""
    ends, count = re.match(r"[\[(](.*?)[\])]\s+(\d+) ", row).groups()
    scale = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    numbers = [int(n) * scale[unit] for n, unit in re.findall(r"(-?\d+)([KMG]?)", ends)]
    return numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] + 1, int(count)


def run(python, programs, tool, program, *args, **env):
    """(what the tool found, what the program printed, the program's pid)."""
    with Tool(python, tool) as trace:
        process = subprocess.Popen(
            [python.path, "-m", "pyusdt", f"{programs}{program}.py", *args],
            env=python.env(**env),
            stdout=subprocess.PIPE,
            text=True,
        )
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    return Found(trace.output, programs), printed, process.pid


def assert_within(buckets, usecs_low: float, usecs_high: float):
    """Every time is one between the two bounds, as far as buckets can say."""
    for low, high, count in buckets:
        assert count == 0 or (high > usecs_low and low <= usecs_high), buckets


# ---- no tracer ----


@pytest.mark.parametrize("tool", TOOLS)
def test_form(tool):
    """The header has what every tool's header has; the indexes name the tool."""
    text = (ROOT / "tools" / f"{tool}.bt").read_text()
    header, _, code = text.partition(" */\n")
    assert header.startswith(f"#!/usr/bin/env bpftrace\n/*\n * {tool}.bt - ")
    name = tool.removeprefix("py")
    wanted = ["USAGE:", "VERSIONS: ", "OVERHEAD: ", f"    pyusdt {name} [-p", f"# pyusdt {name} "]
    for word in wanted:
        assert f"\n * {word}" in header
    # Those with python_function() are for the command alone.
    assert "python_function()" in code or f"bpftrace tools/{tool}.bt -p PID" in header
    assert max(map(len, header.splitlines())) <= 110  # of its output, which is real
    assert max(map(len, code.splitlines())) <= 80
    assert "Hit Ctrl-C to end.\\n" in code
    summary = re.search(rf"{tool}\.bt - (.*)\.\n", header)[1]
    assert f"| [{tool}]({tool}.bt) | {summary} |" in (ROOT / "tools/README.md").read_text()
    assert f"| `pyusdt {name}` |" in (ROOT / "docs/tools.md").read_text()


# ---- functions ----


@tracer
def test_pylat(python, programs):
    found, printed, _ = run(python, programs, "pylat", "latency")
    outside = {name: ns / 1000 for name, ns in json.loads(printed).items()}
    runs = {"leaf": 6, "recursive": 5, "generator": 4, "fails": 1, "Shop.order": 1}
    assert {name: found.count("usecs", name) for name in runs} == runs
    usecs = found.hists["usecs"]
    assert_within(usecs["leaf"], 20_000, max(outside.values()))
    assert_within(usecs["recursive"], 20_000, outside["recursive"])
    assert_within(usecs["fails"], 20_000, outside["catches"])
    assert_within(usecs["Shop.order"], 40_000, outside["Shop.order"])
    slow = [b for b in usecs["generator"] if b[1] > 20_000]
    assert sum(count for *_, count in slow) == 3  # the fourth run has nothing to do
    assert_within(slow, 20_000, outside["next"])
    assert "start" not in found.maps


@tracer
def test_pyflow(python, programs):
    found, printed, pid = run(python, programs, "pyflow", "latency")
    outside = max(json.loads(printed).values()) / 1000
    flow = []
    for line in found.lines:
        row = re.match(rf"{pid:<8} +\d+ (.{{10}})  ( *)(->|<-) (\S+)(?: \((.*):\d+\))?$", line)
        if row:
            usecs, indent, arrow, function, file = row.groups()
            flow.append((len(indent) // 2, arrow, function, usecs, file))
    begin = next(i for i, row in enumerate(flow) if row[4] == f"{programs}latency.py")
    base = flow[begin][0]
    names = {"leaf", "recursive", "generator", "fails", "catches", "Shop.order"}
    got = [(depth - base, arrow, name) for depth, arrow, name, *_ in flow if name in names]
    call = [(2, "->", "leaf"), (2, "<-", "leaf")]
    rec = [(2 + i, "->", "recursive") for i in range(5)] + [(7, "->", "leaf"), (7, "<-", "leaf")]
    rec += [(6 - i, "<-", "recursive") for i in range(5)]
    gen = [(2, "->", "generator"), (2, "<-", "generator")] * 4
    fail = [(2, "->", "catches"), (3, "->", "fails"), (3, "<-", "fails"), (2, "<-", "catches")]
    order = [(2, "->", "Shop.order"), *[(3, a, n) for _, a, n in call * 2], (2, "<-", "Shop.order")]
    assert got == call * 3 + rec + gen + fail + order
    for _, arrow, name, usecs, file in flow[begin:]:
        if arrow == "->" and name in names:
            assert file == f"{programs}latency.py"
        elif name in {"leaf", "recursive"}:
            assert 20_000 <= int(usecs) <= outside


@tracer
def test_pylines(python, programs):
    found, _, _ = run(python, programs, "pylines", "latency")
    source = (ROOT / "tests/programs/latency.py").read_text().split("\n")
    lines = {
        (name, source[line - 1].strip()): n for (name, line), n in found.table("lines").items()
    }
    assert lines["leaf", "time.sleep(SLEEP)"] == 6
    assert lines["recursive", "if n == 0:"] == 5
    assert lines["recursive", "recursive(n - 1)"] == 4
    assert lines["recursive", "leaf()"] == 1
    assert lines["generator", "yield i"] == 3
    assert lines["timed", "begin = time.monotonic_ns()"] == 10
    assert lines["fails", 'raise LookupError("late")'] == 1


@tracer
def test_pycfunc(python, programs):
    found, printed, _ = run(python, programs, "pycfunc", "latency")
    outside = json.loads(printed)
    callee = {key: text.strip() for key, text in found.table("callee").items()}
    sites = {(name, callee[name, at]): (name, at) for name, at in callee}
    calls = found.table("calls")
    sleep = "<built-in function sleep>"
    assert calls[sites["leaf", sleep]] == 6
    assert calls[sites["generator", sleep]] == 3
    assert calls[sites["fails", sleep]] == 1
    assert sum(n for (name, _), n in calls.items() if name == "timed") >= 10 * 2
    nsecs, longest = found.table("nsecs"), found.table("max_nsecs")
    assert 6 * 20 * MSEC <= nsecs[sites["leaf", sleep]] <= 6 * max(outside.values())
    assert 20 * MSEC <= longest[sites["generator", sleep]] <= outside["next"]


# ---- exceptions ----


@tracer
def test_pyexc(python, programs):
    found, _, _ = run(python, programs, "pyexc", "raises")
    deep, missing, from_c = 18, 13, 47  # lines
    # again() calls caught(), too: 5 + 2 there.
    assert found.table("raised") == {
        ("deep", deep): 5 + 3 + 2 + 2,
        ("Resource.missing", missing): 4,
        ("from_c", from_c): 6,
    }
    assert {key: text.strip() for key, text in found.table("what").items()} == {
        ("deep", deep): "ValueError('deep')",
        ("Resource.missing", missing): "AttributeError('missing')",
        ("from_c", from_c): "ValueError(\"invalid literal for int() with base 10: 'x'\")",
    }
    handled = {key: n for key, n in found.table("handled").items() if n}
    assert handled == {
        ("deep", deep, "caught"): 5 + 2,
        ("deep", deep, "<module>"): 3 + 2,
        ("from_c", from_c, "from_c"): 6,
    }
    unwound = found.table("unwound")
    assert unwound["passed"] == 3
    assert unwound["again"] == 2
    assert unwound["deep"] == (5 + 2) * 3 + 3 + 2 * 2
    assert unwound["Resource.missing"] == 4
    assert "caught" not in unwound


# ---- slow calls, arguments, the runtime, marks ----


@tracer
def test_pymarks(python, programs):
    found, printed, pid = run(python, programs, "pymarks", "shop_spans")
    prefix = rf"\d\d:\d\d:\d\d {pid:<8} {pid:<8}"
    marks = [re.fullmatch(rf"{prefix} mark +(\w+) = (.*)", line) for line in found.lines]
    assert [mark.groups() for mark in marks if mark] == [("order", "0"), ("order", "1")]
    rows = [
        re.fullmatch(rf"{prefix} span +(\d+) +(\d+) +(\d+)  (\w+)", line) for line in found.lines
    ]
    rows = [row.groups() for row in rows if row]
    assert [row[3] for row in rows] == ["pay", "checkout"] * 2
    for (pay, inside), outside in zip(
        zip(rows[::2], rows[1::2], strict=True), json.loads(printed), strict=True
    ):
        assert 20_000 <= int(pay[0]) <= int(inside[0]) <= outside / 1000
        assert 20_000 <= int(pay[2]) <= int(pay[0])
        assert int(inside[1]) == int(pay[1]) + 5
    write, read = (1, 0) if platform.machine() == "x86_64" else (64, 63)
    kinds = {}
    for name, number, count in re.findall(
        r"^@nsecs\[(\d+), (\d+)\]:.*count =? ?(\d+)", "\n".join(found.lines), re.MULTILINE
    ):
        kinds[found.names[name], int(number)] = int(count)
    assert kinds["checkout", write] == 10
    assert kinds["pay", read] == 2


@tracer
def test_pyslow(python, programs):
    found, printed, pid = run(python, programs, "pyslow", "latency", PYUSDT_SLOW_USEC="15000")
    outside = max(json.loads(printed).values()) / 1000
    slow = {"leaf": 6, "recursive": 5, "generator": 4, "fails": 1, "catches": 1, "Shop.order": 1}
    got = {name: n for name, n in found.table("slow").items() if name in slow}
    assert got == slow  # of the generator its three runs, and its end: all runs together
    rows = defaultdict(list)
    for line in found.lines:
        row = re.match(rf"\d\d:\d\d:\d\d {pid:<8} {pid:<8} +(\d+)  (\S+) \((.*):\d+\)$", line)
        if row and row[3] == f"{programs}latency.py":
            rows[row[2]].append(int(row[1]))
    assert {name: len(rows[name]) for name in slow} == slow
    for name in "leaf", "recursive", "fails":
        assert all(20_000 <= usecs <= outside for usecs in rows[name])
        assert found.table("max_usecs")[name] == max(rows[name])


@tracer
def test_pyargs(python, programs):
    found, _, pid = run(python, programs, "pyargs", "latency")
    prefix = rf"\d\d:\d\d:\d\d {pid:<8} {pid:<8} "
    rows = [re.fullmatch(rf"{prefix}(.*) (\S+):\d+", line) for line in found.lines]
    calls = [row[1] for row in rows if row and row[2] == f"{programs}latency.py"]
    assert [call for call in calls if call.startswith("recursive")] == [
        f"recursive(n={n})" for n in (4, 3, 2, 1, 0)
    ]
    assert calls.count("leaf()") == 6
    assert sum(call.startswith("Shop.order(self=<") for call in calls) == 1


@tracer
def test_pygc(python, programs):
    found, printed, pid = run(python, programs, "pygc", "garbage")
    expected = json.loads(printed)
    prefix = rf"\d\d:\d\d:\d\d {pid:<8} {pid:<8}"
    rows = [re.match(rf"{prefix} +(\d+) +(\d) +(\d+) +0$", line) for line in found.lines]
    rows = [tuple(map(int, row.groups())) for row in rows if row]
    got = rows[-len(expected) :]
    assert [[generation, freed] for _, generation, freed in got] == [e[:2] for e in expected]
    for (usecs, *_), (*_, ns) in zip(got, expected, strict=True):
        assert usecs * 1000 <= ns
    assert sum(found.count("usecs", generation) for generation in found.hists["usecs"]) == len(rows)


@tracer
def test_pyimports(python, programs):
    found, printed, pid = run(python, programs, "pyimports", "imports")
    outside = json.loads(printed) / 1000
    rows = [re.match(rf"{pid:<8} +(\d+) +(\d+)  ( *)(shop_.*)$", line) for line in found.lines]
    rows = [row.groups() for row in rows if row]
    assert [row[3] for row in rows] == ["shop_inner", "shop_outer", "shop_broken (failed)"]
    inner, outer, broken = rows
    assert len(inner[2]) == len(outer[2]) + 2
    assert len(outer[2]) == len(broken[2])
    assert 20_000 <= int(inner[1]) <= int(outer[1]) <= outside
    assert int(outer[1]) >= 40_000
    assert int(outer[0]) >= 20_000
    assert abs(int(outer[0]) + int(inner[1]) - int(outer[1])) <= 1  # rounded


# ---- coroutines and threads ----


@tracer
def test_pyasync(python, programs):
    if python.is_free_threaded:
        pytest.skip("co_flags lies elsewhere there: the tool's head says so")
    found, printed, pid = run(python, programs, "pyasync", "held_loop")
    outside, whole = (ns / 1000 for ns in json.loads(printed))
    runs = {"quick": 2 * 6, "blocking": 3 * 2, "ticks": 7 * 2, "main": 2}
    assert {name: found.count("usecs", name) for name in runs} == runs
    longest = found.table("max_usecs")
    assert 50_000 <= longest["blocking"] <= outside + 100_000
    assert all(longest[name] < 50_000 for name in ("quick", "handler", "ticks", "main"))
    assert max(longest, key=longest.get) == "blocking"
    held = found.hists["loop_usecs"][pid, pid]
    assert sum(count for _, high, count in held if high > 50_000) >= 2
    assert_within(held, 0, whole)
    assert "work" not in longest, "not a coroutine"


@tracer
def test_pythreads(python, programs):
    found, printed, pid = run(python, programs, "pythreads", "spinner")
    seen = json.loads(printed)
    events = defaultdict(list)
    for line in found.lines:
        row = re.match(rf"\d\d:\d\d:\d\d (begin|end) +{pid} +(\d+) ", line)
        if row:
            events[int(row[2])].append(row[1])
    assert events == {tid: ["begin", "end"] for tid in (pid, seen["spin"][0], seen["nap"][0])}
    calls = found.table("calls")
    assert calls[seen["spin"][0], "tick"] == 1000
    assert calls[seen["nap"][0], "tick"] == 1
    cpu = found.maps["cpu_nsecs"]
    # From its first Python function to its end.
    assert cpu[seen["spin"][0]] >= 200 * MSEC
    assert cpu[seen["nap"][0]] < 200 * MSEC


# ---- every form of attaching ----


@tracer
def test_by_pid(python, programs):
    """-p, from the gate of --wait: nothing is lost, nothing is counted twice."""
    process = subprocess.Popen(
        [python.path, "-m", "pyusdt", "--wait", f"{programs}latency.py"],
        env=python.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Tool(python, "pylat", "-p", str(process.pid)) as trace:
        process.communicate(timeout=60)
        trace.process.wait(60)
    found = Found(trace.output, programs)
    assert found.count("usecs", "leaf") == 6
    assert found.count("usecs", "recursive") == 5


@tracer
def test_with_a_command(python, programs):
    if version() < (0, 27, 0):
        return  # it cannot: README.md
    command = f"{python.path} -m pyusdt {programs}latency.py"
    with Tool(python, "pylat", "-c", command) as trace:
        trace.process.wait(60)
    assert Found(trace.output, programs).count("usecs", "leaf") == 6
