"""A web application under load: FUNC_SLOW shows the requests that were delayed, and no other."""

import json
import random
import re

from conftest import needs_tracer
from test_slow import OLD
from tracer import Bpftrace
from web_server import KINDS, Server

pytestmark = needs_tracer

ORDERS = 300
SLOW_USEC = 20000  # the delay is 30000
FRAME = 'reg("r9")' if OLD else "arg7"


def script(lib):
    """Slow calls with the arguments they began with: one frame, one call."""
    return f"""
usdt:"{lib}":pyusdt:PY_START_ARGS {{ @arguments[pid, {FRAME}] = str(arg4); @starts = count(); }}
usdt:"{lib}":pyusdt:FUNC_SLOW {{
  printf("SLOW\\t%s\\t%s\\t%lld\\n", str(arg5), @arguments[pid, {FRAME}], arg4);
}}
END {{ clear(@arguments); }}
"""


def test_slow_requests(python, neighbours, programs):
    """Exactly the delayed ones, with their arguments, all the time that others go on."""
    delayed = set(random.Random(5).sample(range(ORDERS), 25))
    env = python.env(PYUSDT_SLOW_USEC=str(SLOW_USEC), PYUSDT_INCLUDE="app.*")
    env["PYTHONPATH"] += ":" + neighbours
    command = [python.path, "-m", "pyusdt", f"{programs}web/serve.py", *map(str, sorted(delayed))]
    with Bpftrace(script(python.lib), strlen=64) as trace, Server(command, env=env) as server:
        server.load(range(ORDERS), clients=4)
        took = dict(json.loads(server.ask("records")))
    assert sorted(took) == list(range(ORDERS))
    slow = {"order": {}, "Stock.price": {}}
    for line in trace.lines:
        if line.startswith("SLOW\t"):
            _, name, text, nsec = line.split("\t")
            if name == "<module>":  # of app.py, which imports Flask
                continue
            number = int(re.search(r"number=(\d+)", text)[1])
            own = "" if name == "order" else "self=<app.Stock>, "
            assert text == f"{own}number={number}, kind='{KINDS[number % len(KINDS)]}'"
            assert number not in slow[name]
            slow[name][number] = int(nsec)
    # A busy machine delays others, too: then the program's own clock has seen it.
    disturbed = {number for number, nsec in took.items() if nsec >= SLOW_USEC * 1000}
    assert delayed <= disturbed
    for name, calls in slow.items():
        assert delayed <= set(calls) <= disturbed, name
        for number, nsec in calls.items():
            assert SLOW_USEC * 1000 <= nsec <= took[number] * 1.01
            assert nsec >= 29_500_000 or number not in delayed
    # The handler and the stock of each request; all else was filtered out.
    assert 2 * ORDERS < trace.map("@starts") < 2 * ORDERS + 10
