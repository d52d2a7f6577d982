"""A web application under load, traced and not in turns, in one process."""

import json
import statistics
import time

import place
from table import Refusal, Row, Section
from tracer import Bpftrace
from web_server import Server

CLIENTS = 4
SERVE = place.ROOT / "tests" / "programs" / "web" / "serve.py"

# name: (probe, settings, events a request at least, least throughput to untraced)
STATES = {
    "FUNC_SLOW of all functions": ("FUNC_SLOW", {}, 0, 0.90),
    "FUNC_SLOW of app.*": ("FUNC_SLOW", {"include": "app.*"}, 0, 0.90),
    "PY_START of app.*, all else filtered out": ("PY_START", {"include": "app.*"}, 2, 0.95),
    "PY_START of all functions": ("PY_START", {}, 100, None),
}


def batch(server: Server, requests: int) -> tuple[float, float]:
    """(CPU time of the server, time by the clock) in us a request."""
    cpu = int(server.ask("cpu"))
    start = time.monotonic_ns()
    server.load(range(requests), CLIENTS)
    took = time.monotonic_ns() - start
    return (int(server.ask("cpu")) - cpu) / requests / 1e3, took / requests / 1e3


def traced(server: Server, lib: str, state: str, batches: int, requests: int) -> list:
    probe, _, events, _ = STATES[state]
    with Bpftrace(f'usdt:"{lib}":pyusdt:{probe} {{ @ = count(); }}') as trace:
        server.ask("wait")
        samples = untraced(server, batches, requests)
    if trace.map() < events * batches * requests:
        raise Refusal(f"{state}: bpftrace counted {trace.map()} events only")
    return samples


def untraced(server: Server, batches: int, requests: int) -> list:
    batch(server, 20)  # code is instrumented when it runs for the first time
    return [batch(server, requests) for _ in range(batches)]


def web(quick: bool) -> Section:
    section = Section(
        "A web application",
        "a Flask application under werkzeug, 4 clients on connections that stay open; CPU time "
        "of the server a request, us, and as a note the requests it served in a second by the "
        "clock; traced and untraced in turns in one process. A throughput of 0.90 is a time of "
        "1.111, one of 0.95 is 1.053" + place.busy(),
    )
    python, failed = place.tools()
    if "flask" in failed:
        section.rows = [Row("Flask", note=failed["flask"])]
        return section
    requests, batches, turns = (100, 3, 2) if quick else (100, 5, 12)
    root, lib = place.package("web")
    env = place.environment(PYTHONPATH=str(root), PYTHONHASHSEED="0", PYUSDT_SLOW_USEC="20000")
    values: dict[str, list[tuple[float, float]]] = {}
    with Server([str(python), "-m", "pyusdt", str(SERVE)], env=env, cwd=root) as server:
        batch(server, requests)
        for _ in range(turns):
            for state, (_, settings, _, _) in STATES.items():
                server.ask(json.dumps({"include": "", **settings}))
                for name, samples in (
                    (f"untraced, beside {state}", untraced(server, batches, requests)),
                    (state, traced(server, lib, state, batches, requests)),
                ):
                    values.setdefault(name, []).extend(samples)
    for state, samples in values.items():
        rate = 1e6 / statistics.median(clock for _, clock in samples)
        row = Row(state, [cpu for cpu, _ in samples], "us", note=f"{rate:.0f} requests/s")
        if state in STATES:
            row.reference = section.rows[-1]
            *_, least = STATES[state]
            row.target = None if least is None else round(1 / least, 3)
        section.rows.append(row)
    return section
