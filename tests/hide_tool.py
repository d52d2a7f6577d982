"""Runs `-m test ARGS` with a sys.monitoring tool that sys.monitoring does not tell of.

    python tests/hide_tool.py pyusdt ARGS
    python tests/hide_tool.py EVENT,EVENT... ARGS

The first is traced as by `python -m pyusdt`. CPython's test_monitoring refuses to
begin while any tool is in use, and then uses 2, 3 and 4 itself. Here pyusdt, which
prefers 4 and 3, has to take another one, and is hidden. So it runs beside the
tests' own tools, and none of them may see a difference.

The second has a tool in pure Python instead, with callbacks that do nothing: what
it changes, too, is CPython's doing and not pyusdt's.
"""

import sys

monitoring = sys.monitoring
what = sys.argv.pop(1)


def do_nothing(*args):
    pass


def start() -> str:
    """Begins; the tool's name."""
    if what == "pyusdt":
        import pyusdt  # noqa: F401  a tracer that is there is served from here on

        return "pyusdt"
    monitoring.use_tool_id(5, "pure")
    events = [getattr(monitoring.events, name) for name in what.split(",")]
    for event in events:
        monitoring.register_callback(5, event, do_nothing)
    monitoring.set_events(5, sum(events))
    return "pure"


def hide(name: str) -> None:
    get_tool, get_events = monitoring.get_tool, monitoring.get_events
    all_events = monitoring._all_events

    def ours(tool: int) -> bool:
        return get_tool(tool) == name

    def others(mask: int) -> int:
        return sum(mask & 1 << tool for tool in range(6) if not ours(tool))

    monitoring.get_tool = lambda tool: None if ours(tool) else get_tool(tool)
    monitoring.get_events = lambda tool: 0 if ours(tool) else get_events(tool)
    monitoring._all_events = lambda: {
        event: others(mask) for event, mask in all_events().items() if others(mask)
    }


for tool in (3, 4):
    monitoring.use_tool_id(tool, "kept free")
name = start()
for tool in (3, 4):
    monitoring.free_tool_id(tool)
hide(name)
del sys.path[0]

from test.libregrtest.main import main  # noqa: E402

main()
