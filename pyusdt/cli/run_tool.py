"""pyusdt TOOL: one of tools/py*.bt on a process, a program, or all."""

import argparse
import os
import platform
import sys
from typing import IO

from pyusdt import layout
from pyusdt.process import ProcessError

from . import (
    bpftrace,
    configure,
    elf,
    library,
    live,
    options,
    prelude,
    script,
    session,
    targets,
)
from .errors import Failure
from .report import WRITERS, Writer
from .session import Plan
from .targets import Target
from .tools import Tool, tools

EXAMPLES = """\
examples:
  sudo pyusdt {name} -p 4711             a process, until Ctrl-C
  sudo pyusdt {name} -n gunicorn -d 10   the process with this name, for 10 seconds
  sudo pyusdt {name} -- script.py args   a program from its first line to its end
  sudo pyusdt {name} -- -m module        a module; the program runs as you, not as root
  sudo pyusdt {name}                     every process with this library
  sudo pyusdt {name} -p 4711 -f json     one JSON object a line; the last one is the summary
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", tool: Tool) -> None:
    parser = commands.add_parser(
        tool.name,
        help=tool.summary.replace("%", "%%"),
        description=f"{tool.summary[:1].upper()}{tool.summary[1:]}.\n\n{tool.about}",
        epilog=EXAMPLES.format(name=tool.name),
        formatter_class=options.Formatter,
        usage=f"pyusdt {tool.name} [-p PID | -n NAME] [options] [-- script.py args...]",
    )
    options.add_target(parser)
    options.add_settings(parser)
    options.add_output(parser)
    parser.add_argument(
        "-i",
        "--interval",
        type=options.positive,
        metavar="SECONDS",
        help="show the tables so often, not only at the end (1 on a terminal with rich)",
    )
    parser.add_argument(
        "--top", type=options.count, metavar="N", help="only the first N rows of a table"
    )
    columns = [name.lstrip("@") for name in script.number_maps(tool.text)]
    if len(columns) > 1:
        parser.add_argument(
            "--sort",
            type=str.lower,
            choices=columns,
            metavar="COLUMN",
            help=f"largest first: {', '.join(columns)}",
        )
    parser.add_argument(
        "--show-script", action="store_true", help="print the script for bpftrace, run nothing"
    )
    parser.set_defaults(run=run)


def form(target: Target | None) -> script.Form:
    """How to attach to a process; to all processes with the caller's library if None."""
    have, machine = bpftrace.version(), platform.machine()
    if target is None:
        path = str(library.path())
        return script.Form(have, machine, path, None, _names(elf.probes(path)))
    # By this path bpftrace finds the file in every mount namespace, and, unlike by
    # others, once (0.27).
    path = f"/proc/{target.pid}/root{target.library}"
    pid = None if targets.is_nested() else target.pid
    return script.Form(have, machine, path, pid, _names(target.probes))


def _names(probes: list[elf.Probe]) -> frozenset[str]:
    return frozenset(probe.name for probe in probes if probe.provider == "pyusdt")


def final_text(text: str, target: Target | None, extra: str = "") -> str:
    """The script as bpftrace gets it."""
    how = form(target)
    if prelude.is_used(text):
        text = with_python(text, target, how)
    if target is not None and how.pid is None and (target.is_chrooted or script.is_wide(text)):
        raise Failure(
            "in a PID namespace of its own the command cannot tell the process's kernel events "
            "from others; run it on the host, or in a container with --pid=host"
        )
    final = script.rewrite(text, how)
    lacking = script.missing(final, how.probes or frozenset())
    if lacking:
        raise Failure(
            f"{target.library if target else how.library} has no probe {', '.join(lacking)}; "
            "`pyusdt list` names those that it has"
        )
    return script.with_marks(final + "\n" + extra)


def with_python(text: str, target: Target | None, how: script.Form) -> str:
    """The script with code in place of python_function() and its like."""
    if target is None:
        raise Failure(
            "Python stacks at the kernel's events are those of one process: give -p PID, "
            "-n NAME or -- script.py"
        )
    try:
        fields = layout.read(target.pid)
    except ProcessError as error:
        raise Failure(str(error)) from error
    if fields["slot_steps"] == 0:
        raise Failure(f"pyusdt has not found where process {target.pid} keeps its threads' frames")
    return prelude.expand(text, fields, target.pid, how.version)


def writer_for(
    args: argparse.Namespace, out: IO[str], names: list[list[str]], interval: float | None
) -> Writer:
    kind = WRITERS[args.format]
    if args.format == "text" and interval is not None and live.is_possible(out):
        kind = live.Live
    return kind(out, names, args.top)


def run(args: argparse.Namespace) -> int:
    tool = tools()[args.command]
    target = options.target(args)
    settings = options.settings(args)
    text = tool.text
    out = options.open_output(args.output) if args.output else sys.stdout
    interval = args.interval
    # A program that is started writes on the terminal itself.
    is_quiet = args.format == "text" and tool.is_live and not args.program
    if interval is None and is_quiet and live.is_possible(out):
        interval = 1.0
    extra = refresh(text, interval) + duration(args)
    keys, names = keys_of(text), list[list[str]]()
    if args.format != "text":
        text, names = script.structured(text, library.words)
    if args.show_script:
        print(final_text(text, target, extra), end="")
        return 0
    need_root()
    plan = Plan(
        text=lambda target: final_text(text, target, extra),
        writer=writer_for(args, out, names, interval),
        target=target,
        words=args.program,
        settings=options.environment(settings),
        seconds=args.duration,
        tool=tool.path.stem,
        keys=keys,
        sort=getattr(args, "sort", None),
        snapshots=interval is not None,
    )
    with configure.for_a_while(target, settings):
        return session.run(plan).exit_code


def keys_of(text: str) -> dict[str, list[str]]:
    return script.keys_of(text, library.words, prelude.names(text))


def refresh(text: str, interval: float | None) -> str:
    if interval is None:
        return ""
    return script.refresh_clause(text, interval, session.BATCH, prelude.maps(text))


def duration(args: argparse.Namespace) -> str:
    """A running process is timed by the tracer itself; a program from where it goes on."""
    if args.duration is None or args.program:
        return ""
    return script.duration(args.duration)


def need_root() -> None:
    bpftrace.path()
    if os.geteuid() != 0:
        raise Failure("bpftrace needs root; type: sudo pyusdt ... (the program runs as you)")
