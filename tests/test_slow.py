"""FUNC_SLOW fires for what is slow and for nothing else, with the right times."""

import json
import platform
import subprocess
from collections import defaultdict

from conftest import needs_tracer
from tracer import Bpftrace, version

pytestmark = needs_tracer

REST = 0.04
CLOCKS = 1.01  # two clocks may differ by so much
# Before 0.27 bpftrace has no arg8 and arg9 on x86-64.
OLD = version() < (0, 27, 0) and platform.machine() == "x86_64"
TOTAL, ENDED = ('reg("r10")', 'reg("r11")') if OLD else ("arg8", "arg9")


def clause(lib, under, probe, text):
    where = f'/strncmp(str(arg1), "{under}", {len(under)}) == 0/'
    return f'usdt:"{lib}":pyusdt:{probe} {where} {{ printf({text}); }}\n'


def script(lib, under):
    fields = f"str(arg5), arg4, {TOTAL}, {ENDED}, arg2"
    return clause(lib, under, "FUNC_SLOW", f'"SLOW\\t%s\\t%lld\\t%lld\\t%d\\t%d\\n", {fields}')


def slow_runs(python, programs, **settings):
    """({qualname: [(ns, total ns, ended)]}, the program's own records)."""
    with Bpftrace(script(python.lib, programs)) as trace:
        process = subprocess.Popen(
            [python.path, "-m", "pyusdt", f"{programs}slow.py", str(REST)],
            env=python.env(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    runs = defaultdict(list)
    for line in trace.lines:
        if line.startswith("SLOW\t"):
            _, name, took, total, ended, _ = line.split("\t")
            runs[name].append((int(took), int(total), int(ended)))
    return runs, json.loads(printed)


def test_slow_calls(python, programs):
    """Every slow run, with its time; no fast one."""
    runs, records = slow_runs(python, programs, PYUSDT_SLOW_USEC=str(int(REST * 0.7e6)))
    for name, inner, outer in records:
        if name in ("many_short_runs", "coroutine"):
            continue
        if name == "one_slow_run":  # it fires once more at its end, for the sum
            took, total, ended = runs[name].pop()
            assert (ended, took < total) == (1, True)
        assert len(runs[name]) == (4 if name == "recursive" else 1), (name, runs[name])
        for took, total, ended in runs[name]:
            assert ended == (name != "one_slow_run")
            assert total >= took
            assert inner / CLOCKS <= took <= outer * CLOCKS, name
    # No single run of it was slow: all together were, which shows at its end.
    ((took, total, ended),) = runs["many_short_runs"]
    inner, outer = next((i, o) for name, i, o in records if name == "many_short_runs")
    assert ended
    assert took < total
    assert inner / CLOCKS <= total <= outer * CLOCKS
    # It slept in vain: only the time that it held the loop counts.
    first, *rest = runs["coroutine"]
    inner = next(i for name, i, _ in records if name == "coroutine")
    assert first[2] == 0
    assert first[0] >= inner / CLOCKS
    assert len(rest) == 1
    assert rest[0][2] == 1
    assert rest[0][1] * CLOCKS >= first[0] + rest[0][0]
    assert "fast" not in runs
    known = {name for name, _, _ in records} | {"rest", "around", "<module>", "in_thread"}
    known |= {"in_thread.<locals>.<lambda>", "<lambda>"}
    assert set(runs) <= known


def test_threshold_is_changed_and_filtered(python, programs):
    """All is slow from 0 microseconds on; an excluded function is not timed."""
    settings = {"PYUSDT_SLOW_USEC": "0", "PYUSDT_EXCLUDE": "rest,*Thing*,<module>"}
    runs, _ = slow_runs(python, programs, **settings)
    assert len(runs["fast"]) == 10000
    assert len(runs["one_slow_run"]) == 4
    assert [ended for _, _, ended in runs["one_slow_run"]] == [0, 0, 0, 1]
    assert not {"rest", "Thing", "Thing.method", "<module>"} & set(runs)


def test_beside_starts_and_arguments(python, programs):
    """One event feeds them all, and each says the same of the call."""
    fields = "str(arg5), arg2, str(arg4)"
    text = "".join(
        clause(python.lib, programs, name, f'"{name}\\t%s\\t%d\\t%s\\n", {fields}')
        for name in ("PY_START", "PY_START_ARGS")
    )
    with Bpftrace(text + script(python.lib, programs)) as trace:
        done = python.run(
            "-m", "pyusdt", f"{programs}slow.py", "0.001", env=python.env(PYUSDT_SLOW_USEC="0")
        )
    assert done.returncode == 0, done.stderr
    seen = defaultdict(list)
    for line in trace.lines:
        name, *words = line.split("\t")
        seen[name].append(words)
    # bpftrace prints what each processor had, not always in the order of time.
    starts = sorted(words[:2] for words in seen["PY_START"])
    assert sorted(words[:2] for words in seen["PY_START_ARGS"]) == starts
    arguments = defaultdict(set)
    for words in seen["PY_START_ARGS"]:
        arguments[words[0]].add(words[2])
    assert arguments["fast"] == {f"n={n}" for n in range(5000)}
    assert arguments["Thing.method"] == {"self=<__main__.Thing>"}
    assert arguments["plain"] == {""}
    assert {words[2] for words in seen["PY_START"]} == {""}
    ended = [words[0] for words in seen["SLOW"] if words[3] == "1"]
    assert sorted(ended) == sorted(words[0] for words in starts)
