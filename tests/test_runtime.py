"""GC_* and IMPORT_*: garbage collections and imports, as the program itself saw them."""

import json
import subprocess

from conftest import ROOT, needs_tracer
from tracer import Bpftrace

pytestmark = needs_tracer

GC = """
import gc, json, sys, time
gc.disable()
seen = []
class Cycle:
    def __init__(self): self.me = self
def note(phase, info):
    if phase == "stop":
        seen.append([info["generation"], info["collected"], info["uncollectable"]])
def collect(generation, cycles):
    for _ in range(cycles): Cycle()
    began = time.perf_counter_ns()
    gc.collect(generation)
    seen[-1].append(time.perf_counter_ns() - began)
gc.collect()
gc.callbacks.append(note)
for generation, cycles in (0, 3), (1, 20), (2, 1000), (2, 0), (0, 7):
    collect(generation, cycles)
gc.callbacks.remove(note)
sys.stdout.write(json.dumps([seen, len(gc.callbacks)]))
sys.stdout.flush()
import os; os._exit(0)
"""


def run_traced(python, script, *command, **settings):
    with Bpftrace(script) as trace:
        process = subprocess.Popen(
            [python.path, *command],
            env=python.env(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    rows = [line.split("\t") for line in trace.lines if "\t" in line]
    return out, [words for words in rows if words[1] == str(process.pid)]


def test_gc(python):
    """Every collection, with what it found and a time within the program's own."""
    script = (
        f'usdt:"{python.lib}":pyusdt:GC_START {{ printf("START\\t%d\\t%d\\n", pid, arg0); }}\n'
        f'usdt:"{python.lib}":pyusdt:GC_DONE '
        '{ printf("DONE\\t%d\\t%d\\t%lld\\t%lld\\t%lld\\n", pid, arg0, arg1, arg2, arg3); }\n'
    )
    out, rows = run_traced(python, script, "-m", "pyusdt", "-c", GC)
    seen, callbacks = json.loads(out)
    assert callbacks == 1  # ours, while a tracer wants it
    rows = rows[-2 * len(seen) :]
    for start, done, (generation, collected, uncollectable, outer) in zip(
        rows[::2], rows[1::2], seen, strict=True
    ):
        assert start == ["START", start[1], str(generation)]
        assert done[0] == "DONE"
        assert [int(word) for word in done[2:5]] == [generation, collected, uncollectable]
        assert 0 < int(done[5]) <= outer


def test_gc_callbacks_are_the_program_s_own(python):
    """Ours is there only while GC_* are traced; the program may take it away."""
    code = """
import gc, sys, time
sys.path.insert(0, sys.argv[1])
import notes, pyusdt
def until(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)
assert gc.callbacks == []
mine = lambda phase, info: None
for _ in range(2):
    notes.raise_semaphore("GC_DONE")
    until(lambda: len(gc.callbacks) == 1)
    assert sys.monitoring.get_tool(4) is None
    gc.callbacks.append(mine)
    gc.collect()
    notes.lower_semaphore("GC_DONE")
    until(lambda: gc.callbacks == [mine])
    gc.callbacks.clear()
notes.raise_semaphore("GC_START")
until(lambda: gc.callbacks)
gc.callbacks.clear()
notes.lower_semaphore("GC_START")
notes.raise_semaphore("PY_START")
until(lambda: sys.monitoring.get_tool(4))
assert gc.callbacks == []
"""
    env = python.env(PYUSDT_CHECK_MSEC="5")
    done = python.run("-c", code, str(ROOT / "tests"), env=env)
    assert (done.returncode, done.stderr) == (0, "")


IMPORTS = """
import sys, threading
import shop
try:
    import shop.missing
except ImportError:
    pass
try:
    import broken
except ZeroDivisionError:
    pass
import shop, importlib
importlib.import_module("shop")
importlib.import_module("shop.late")
threads = [threading.Thread(target=__import__, args=(f"side{i}",)) for i in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import café
"""


def test_imports(python, tmp_path):
    """Each module that is loaded, once; nesting; failures told apart; times that contain."""
    (tmp_path / "shop").mkdir()
    files = {
        "shop/__init__.py": "import time\nfrom . import cart\ntime.sleep(0.01)\n",
        "shop/cart.py": "import time\ntime.sleep(0.02)\nimport shop.items\n",
        "shop/items.py": "",
        "shop/late.py": "",
        "broken.py": "import shop\n1 / 0\n",
        "side0.py": "",
        "side1.py": "",
        "café.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    script = (
        f'usdt:"{python.lib}":pyusdt:IMPORT_START '
        '{ printf("START\\t%d\\t%s\\n", pid, str(arg0)); }\n'
        f'usdt:"{python.lib}":pyusdt:IMPORT_DONE '
        '{ printf("DONE\\t%d\\t%s\\t%d\\t%lld\\n", pid, str(arg0), arg1, arg2); }\n'
    )
    # threading and importlib are not what is looked at.
    program = tmp_path / "program.py"
    program.write_text("import threading, importlib, time\n" + IMPORTS)
    for settings in {}, {"PYUSDT_EXCLUDE": "*"}:
        _, rows = run_traced(python, script, "-m", "pyusdt", str(program), **settings)
        ours = ("shop", "broken", "side", "caf")
        rows = [words for words in rows if words[2].startswith(ours)]
        expected = [
            "START shop",
            "START shop.cart",
            "START shop.items",
            "DONE shop.items 1",
            "DONE shop.cart 1",
            "DONE shop 1",
            "START shop.missing",
            "DONE shop.missing 0",
            "START broken",
            "DONE broken 0",
            "START shop.late",
            "DONE shop.late 1",
        ]
        got = [" ".join([w[0], *w[2:4]]) for w in rows]
        assert got[: len(expected)] == expected
        rest = ["START side0", "DONE side0 1", "START side1", "DONE side1 1"]
        assert sorted(got[len(expected) : -2]) == sorted(rest)
        assert got[-2:] == ["START café", "DONE café 1"]
        took = {w[2]: int(w[4]) for w in rows if w[0] == "DONE"}
        assert took["shop"] > took["shop.cart"] > took["shop.items"] > 0
        assert took["shop.cart"] >= 20_000_000
