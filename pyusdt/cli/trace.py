"""pyusdt trace: any bpftrace script with the library's path, form and gate of this place."""

import argparse
import sys

from . import bpftrace, configure, library, options, prelude, run_tool, script, session
from .errors import Failure, Usage
from .report import WRITERS
from .session import Plan

DESCRIPTION = """\
Run a bpftrace script of yours.  Its probes usdt:ANY/PATH:pyusdt:NAME (also
usdt::pyusdt:NAME) are attached to the library of the process, in the way that the
installed bpftrace needs; arg6 and arg7 work with every version; only events of the
process count.  Its output is passed through.

In a script, `$fn = python_function();` sets $fn to a number that stands for the current
Python function, at any event of the kernel, and `$stack = python_stack();` one that
stands for all of them; as keys of maps they are shown by name.
"""
EXAMPLES = """\
examples:
  sudo pyusdt trace script.bt -p 4711
  sudo pyusdt trace script.bt -- script.py args
  sudo pyusdt trace -e 'usdt::pyusdt:PY_START { @[str(arg5)] = count(); }' -d 5 -p 4711
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "trace",
        help="run a bpftrace script of yours",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
        usage="pyusdt trace (script.bt | -e PROGRAM) [-p PID | -n NAME] [options] "
        "[-- script.py args...]",
    )
    parser.add_argument("script", nargs="?", metavar="script.bt", help="the script; - is stdin")
    parser.add_argument("-e", "--execute", metavar="PROGRAM", help="the script itself")
    options.add_target(parser)
    options.add_settings(parser)
    options.add_output(parser)
    parser.add_argument(
        "--show-script", action="store_true", help="print the script for bpftrace, run nothing"
    )
    parser.set_defaults(run=run, top=None)


def _source(args: argparse.Namespace) -> str:
    if (args.script is None) == (args.execute is None):
        raise Usage("give a script or -e PROGRAM: pyusdt trace script.bt -p PID")
    if args.execute is not None:
        return str(args.execute)
    try:
        if args.script == "-":
            return sys.stdin.read()
        with open(args.script, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"cannot read {args.script}: {error.strerror}") from error


def run(args: argparse.Namespace) -> int:
    text = _source(args)
    target = options.target(args)
    settings = options.settings(args)
    extra = run_tool.duration(args)
    keys, names = run_tool.keys_of(text), list[list[str]]()
    joined = args.format != "text" or prelude.is_used(text)
    if args.format != "text":
        text, names = script.structured(text, library.words)
    if args.show_script:
        print(run_tool.final_text(text, target, extra), end="")
        return 0
    run_tool.need_root()
    bpftrace.version()
    out = options.open_output(args.output) if args.output else sys.stdout
    plan = Plan(
        text=lambda target: run_tool.final_text(text, target, extra),
        writer=WRITERS[args.format](out, names, None),
        target=target,
        words=args.program,
        settings=options.environment(settings),
        seconds=args.duration,
        json=joined,
        tool=args.script or "-e",
        keys=keys,
    )
    with configure.for_a_while(target, settings):
        return session.run(plan).exit_code
