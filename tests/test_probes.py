"""The probes say what happened: every event equals the oracle's of the same run."""

import json
import subprocess
import time
from collections import defaultdict

import pytest
from conftest import ROOT, needs_tracer
from tracer import VALUE_MAX, Bpftrace, events_script, parse_events

pytestmark = needs_tracer

FUNCTIONS = ["PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "CALL", "LINE"]
EXCEPTIONS = ["PY_UNWIND", "PY_THROW", "RAISE", "RERAISE", "EXCEPTION_HANDLED", "STOP_ITERATION"]
C_CALLS = ["C_RETURN", "C_RAISE"]
CONTROL_FLOW = ["JUMP", "BRANCH", "BRANCH_LEFT", "BRANCH_RIGHT", "INSTRUCTION"]  # that there are
GROUPS = {
    "functions": FUNCTIONS,
    "exceptions": EXCEPTIONS + C_CALLS,
    "control-flow": CONTROL_FLOW,
}
PROGRAMS_COMPARED = [
    "big_string",
    "callbacks",
    "classes",
    "comprehensions",
    "coroutines",
    "decorators",
    "exceptions",
    "generators",
    "hostile",
    "names",
    "recursion",
    "threads",
    "values",
]
ORACLE_FIELDS = ["event", "tid", "function", "file", "line", "offset", "value", "qualname", "code"]


def escaped(text: str) -> str:
    """A name as the probes give it: surrogates, which have no UTF-8, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def run_with_oracle(python, program, probes, fields, programs, out, **settings):
    """(events of the probes, events of the oracle), both by thread."""
    probes = [name for name in probes if name in python.probes]
    env = python.env(PYUSDT_VALUE_MAX=str(VALUE_MAX), **settings)
    env["PYTHONPATH"] += f":{ROOT / 'tests' / 'early'}"
    command = [python.path, "-m", "pyusdt", str(ROOT / "tests" / "oracle.py")]
    with Bpftrace(events_script(python.lib, probes, fields, programs)) as trace:
        process = subprocess.Popen(
            [*command, ",".join(probes), str(out), f"{programs}{program}.py"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 0, printed
        assert printed == ""
        records = json.loads(out.read_bytes().decode("utf-8", "surrogatepass"))
        # All that the oracle saw is to come, but for what filters drop.
        end = time.monotonic() + 20
        while len(parse_events(trace.output, fields, process.pid)) < len(records):
            if settings or time.monotonic() > end:
                break  # the comparison will say what is missing
            time.sleep(0.1)
    traced = defaultdict(list)
    for event in parse_events(trace.output, fields, process.pid):
        traced[event["tid"]].append(tuple(event[f] for f in ["event", *fields]))
    expected = defaultdict(list)
    for record in records:
        event = dict(zip(ORACLE_FIELDS, record, strict=True))
        for name in ("function", "file", "qualname"):
            event[name] = escaped(event[name])
        expected[event["tid"]].append(tuple(event[f] for f in ["event", *fields]))
    return traced, expected


def compare(traced, expected):
    for tid, events in expected.items():
        got = traced.pop(tid, [])
        for number, (one, two) in enumerate(zip(got, events, strict=False)):
            assert one == two, f"event {number} of thread {tid}"
        assert len(got) == len(events)
    assert not traced, "events of a thread that the oracle has not seen"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["function", "file", "line", "offset"], id="place"),
        pytest.param(["value", "qualname", "code"], id="value"),
    ],
)
@pytest.mark.parametrize(
    "probes, program",
    [
        pytest.param(probes, program, id=f"{name}-{program}")
        for name, probes in GROUPS.items()
        for program in PROGRAMS_COMPARED
    ],
)
def test_every_event(python, program, probes, fields, programs, tmp_path):
    """What the probes say equals what the oracle recorded, in order, by thread."""
    out = tmp_path / "oracle.json"
    traced, expected = run_with_oracle(python, program, probes, fields, programs, out)
    assert expected or probes is not FUNCTIONS, "the oracle saw nothing"
    compare(traced, expected)


def test_every_probe_is_compared(python):
    assert set(python.probes) <= {name for names in GROUPS.values() for name in names}
