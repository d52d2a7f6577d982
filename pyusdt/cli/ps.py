"""pyusdt ps: the processes that can be traced."""

import argparse
import sys

from pyusdt.process import ProcessError

from . import options, table
from .errors import Failure
from .targets import Target, not_read, processes

COLUMNS = ["pid", "user", "python", "traced", "probes", "where", "library", "command"]
DESCRIPTION = """\
List the processes that have pyusdt loaded, also in containers: PID (the host's), user,
Python version, how many probes a tracer is attached to now, and of how many (- if
that may not be read), which namespaces are not this one's (mnt, pid, user; chroot),
the library as the process sees it, the command.
"""
EXAMPLES = """\
examples:
  sudo pyusdt ps
  sudo pyusdt ps -f json
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "ps",
        help="list the processes that have pyusdt loaded",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
    )
    options.add_format(parser)
    parser.set_defaults(run=run)


def _traced(process: Target) -> tuple[int | None, int | None]:
    """How many probes a tracer is attached to, of how many; None where it may not be read."""
    try:
        return len(process.raised()), len({probe.name for probe in process.probes})
    except (ProcessError, Failure):  # not readable, or gone
        return None, None


def _row(process: Target) -> list[object]:
    return [
        process.pid,
        process.user,
        process.python,
        *_traced(process),
        ",".join(process.namespaces),
        process.library,
        " ".join(process.words),
    ]


def run(args: argparse.Namespace) -> int:
    found, unread = processes()
    table.show(COLUMNS, [_row(process) for process in found], args.format)
    if unread:
        print(f"pyusdt: {not_read(unread)}", file=sys.stderr)
    return 0
