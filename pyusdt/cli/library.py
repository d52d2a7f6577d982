"""The command's own library: its file, and what its probes' arguments are called."""

import os
from pathlib import Path

import pyusdt


def path() -> Path:
    """The file itself: a tracer attaches to that, not to a link."""
    return Path(os.path.realpath(pyusdt.lib))


def arguments(probe: str) -> list[str]:
    """Names of a probe's arguments in their order; empty if there is no such probe."""
    try:
        return [name for _, name, _, _ in pyusdt.arguments(probe)]
    except (ValueError, KeyError):
        return []


def words(probe: str) -> dict[str, str]:
    """The same for script.keys_of(): {"arg0": "function", ...}."""
    names = enumerate(arguments(probe))
    return {f"arg{i}": "function" if name == "qualname" else name for i, name in names}
