"""Runs `-m test ARGS` traced, with pyusdt's sys.monitoring tool hidden from it.

    python tests/hide_tool.py ARGS

CPython's test_monitoring refuses to begin while any tool is in use, and then uses
2, 3 and 4 itself. Here pyusdt, which prefers 4 and 3, has to take another one, and
what sys.monitoring tells of it is taken away. So it runs beside the tests' own
tools, and none of them may see a difference.
"""

import sys

NAME = "pyusdt"
monitoring = sys.monitoring


def hide() -> None:
    get_tool, get_events = monitoring.get_tool, monitoring.get_events
    all_events = monitoring._all_events

    def ours(tool: int) -> bool:
        return get_tool(tool) == NAME

    def others(mask: int) -> int:
        return sum(mask & 1 << tool for tool in range(6) if not ours(tool))

    monitoring.get_tool = lambda tool: None if ours(tool) else get_tool(tool)
    monitoring.get_events = lambda tool: 0 if ours(tool) else get_events(tool)
    monitoring._all_events = lambda: {
        event: others(mask) for event, mask in all_events().items() if others(mask)
    }


for tool in (3, 4):
    monitoring.use_tool_id(tool, "kept free")
import pyusdt  # noqa: E402, F401  a tracer that is there is served from here on

for tool in (3, 4):
    monitoring.free_tool_id(tool)
hide()
del sys.path[0]

from test.libregrtest.main import main  # noqa: E402

main()
