"""Invariant: every start has its end, with the same frame, however an activation ends."""

import os
import subprocess

from conftest import needs_tracer
from tracer import Bpftrace, events_script, parse_events, version

pytestmark = needs_tracer

STARTS = ["PY_START", "PY_RESUME", "PY_THROW"]
ENDS = ["PY_RETURN", "PY_YIELD", "PY_UNWIND"]
# bpftrace before 0.27 has no arg7 on x86-64; see src/usdt.h.
FRAME = 'reg("r9")' if version() < (0, 27) and os.uname().machine == "x86_64" else "arg7"


def check_frames(events):
    """Every frame is entered and left in turns, whatever runs in between."""
    inside = set()
    for event in events:
        if event["event"] in STARTS:
            assert event["frame"] not in inside
            inside.add(event["frame"])
        else:
            inside.remove(event["frame"])
    assert not inside


def check_pairs(events):
    """Each thread runs a stack of activations: an end belongs to the innermost one."""
    stacks = {}
    for number, event in enumerate(events):
        stack = stacks.setdefault(event["tid"], [])
        if event["event"] in STARTS:
            stack.append(event)
        else:
            assert stack, (number, event)
            begun = stack.pop()
            assert begun["frame"] == event["frame"], (number, begun, event)
            assert begun["function"] == event["function"]
    assert not any(stacks.values()), stacks


def traced_events(python, probes, program, *args, **popen):
    fields = ["function", "frame"]
    with Bpftrace(events_script(python.lib, probes, fields, os.path.dirname(program))) as trace:
        process = subprocess.Popen([python.path, "-m", "pyusdt", program, *args], **popen)
        assert process.wait(120) == 0
    return parse_events(trace.output, fields, process.pid)


def test_starts_and_ends_pair_up(python, programs):
    env = python.env()
    events = traced_events(python, STARTS + ENDS, programs + "pairing.py", env=env)
    assert {e["event"] for e in events} == {*STARTS, *ENDS}
    check_pairs(events)


def test_greenlets(python, programs, neighbours):
    """They switch between stacks, so that ends come in another order."""
    env = python.env()
    env["PYTHONPATH"] += ":" + neighbours
    events = traced_events(python, STARTS + ENDS, programs + "pairing.py", "greenlet", env=env)
    assert [e["function"] for e in events].count("ping") == 2
    check_frames(events)


def test_100_000_exceptions_through_five_frames(python, programs):
    """Counted by bpftrace: starts equal ends, exactly, and no frame is left open."""
    ours = f'/strncmp(str(arg1), "{programs}", {len(programs)}) == 0/'
    where = f'usdt:"{python.lib}":pyusdt:'
    script = f"""
{",".join(where + n for n in STARTS)} {ours} {{ @starts = count(); @open[tid, {FRAME}] = 1; }}
{",".join(where + n for n in ENDS)} {ours} {{ @ends = count(); delete(@open[tid, {FRAME}]); }}
{where}PY_UNWIND {ours} {{ @unwinds = count(); }}
"""
    with Bpftrace(script) as trace:
        done = python.run("-m", "pyusdt", programs + "many_exceptions.py")
        assert (done.returncode, done.stderr) == (0, "")
    assert trace.map("@starts") == trace.map("@ends") == 500_001
    assert trace.map("@unwinds") == 500_000
    assert not [line for line in trace.lines if line.startswith("@open[")]
