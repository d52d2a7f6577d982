"""What each thing that a tracer can ask costs: arguments, slow calls, filters, runtime, marks.

As in costs.py, workers run in turns; but each has a library of its own, so that it has
the events of its own tracer only.
"""

from pathlib import Path

import place
from costs import Limit, Python, Worker, alone, bare, measure
from table import Row, Section
from workloads.loops import HEAVY


def calls(limit: Path, turns: int, repeats: int) -> Section:
    """Everything that hangs on the call of a function."""
    section = Section(
        "Calls: arguments, slow calls, filters",
        "added to one call of a function that does nothing, in the thread that calls, ns; "
        "FUNC_SLOW fires for no call; filtered out: the whole turn of the loop, traced and not",
    )
    _, failed = place.tools()
    excluded = alone("exclude", "PY_START", "PY_START", PYUSDT_EXCLUDE="loops.*", fires=False)
    workers: dict[str, Worker | None] = {
        "limit: C loop": Limit(limit),
        "PY_START": alone("start", "PY_START", "PY_START"),
        "PY_START, function included": alone(
            "include", "PY_START", "PY_START", PYUSDT_INCLUDE="loops.*"
        ),
        "excluded": excluded,
        "PY_START_ARGS, no argument": alone("args0", "PY_START", "PY_START_ARGS"),
        "PY_START_ARGS, 3 arguments": alone("args3", "3 arguments", "PY_START_ARGS"),
        "PY_START_ARGS, 10 arguments": alone("args10", "10 arguments", "PY_START_ARGS"),
        "python:function__entry": alone("python", "PY_START", "function__entry"),
        "cProfile": bare("PY_START") if "cProfile" not in failed else None,
        "FUNC_SLOW": alone("slow", "PY_START", "FUNC_SLOW", fires=False),
    }
    costs = measure(workers, turns, repeats, tools={"cProfile": "cProfile"})
    del costs["excluded"]
    rows = {name: Row(name, values) for name, values in costs.items()}
    for name, row in rows.items():
        row.reference = rows["PY_START"] if name not in ("PY_START", "cProfile") else None
    rows["PY_START"].reference = rows["limit: C loop"]
    rows["limit: C loop"].reference = None
    rows["FUNC_SLOW"].reference = rows["cProfile"]
    rows["FUNC_SLOW"].target = 0.50
    untraced = Row("a turn, untraced", excluded.base)
    filtered = Row("PY_START, function excluded", excluded.traced, reference=untraced, target=1.02)
    section.rows = [*rows.values(), untraced, filtered]
    return section


def runtime(turns: int, repeats: int) -> Section:
    """Collections and imports: the whole of one, with a tracer and without."""
    section = Section(
        "Runtime",
        "1000 new objects and gc.collect(0); an import of a small frozen module; the whole of it, "
        "in ns",
    )
    for name in ("GC_START", "GC_DONE", "IMPORT_START", "IMPORT_DONE"):
        worker = alone(name, name, name)
        measure({name: worker}, max(turns // HEAVY[name], 200), repeats)
        untraced = Row(f"{name}: not attached", worker.base)
        section.rows += [untraced, Row(f"{name}: attached", worker.traced, reference=untraced)]
    return section


def marks(limit: Path, turns: int, repeats: int) -> Section:
    """Untraced against a call of an empty function, traced against the limit."""
    section = Section(
        "Marks",
        "a mark() with a value, and a `with` of a span; ns, less what the loop itself takes",
    )
    untraced: dict[str, Worker] = {
        "nothing": alone("nothing", "nothing", ""),
        "call of an empty function": alone("empty", "PY_START", ""),
        "mark(), untraced": alone("mark", "MARK", ""),
        "span, untraced": alone("span", "SPAN_BEGIN", ""),
        "span made anew, untraced": alone("new", "new spans", ""),
    }
    measure(untraced, turns, repeats)
    loop = min(untraced.pop("nothing").base)
    rows = {name: Row(name, [v - loop for v in w.base]) for name, w in untraced.items()}
    call, mark, span, new = rows.values()
    for row in (mark, span, new):
        row.reference = call
    mark.target = 0.999
    traced: dict[str, Worker] = {
        "limit: C loop": Limit(limit),
        "MARK": marked("MARK"),
        "SPAN_BEGIN": marked("SPAN_BEGIN"),
        "SPAN_END": marked("SPAN_END"),
    }
    costs = measure(traced, turns, repeats)
    events = {name: Row(name, values) for name, values in costs.items()}
    first = events["limit: C loop"]
    for row in events.values():
        row.reference = first if row is not first else None
    section.rows = [*rows.values(), *events.values()]
    return section


def marked(name: str) -> Python:
    return alone(f"traced-{name}", name, name, events=False)
