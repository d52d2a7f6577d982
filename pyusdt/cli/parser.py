"""The command line: the one source of --help, the man pages and the completions."""

import argparse
from typing import NoReturn

import pyusdt

from . import completion, configure, doctor, lib, list_probes, options, ps, run_tool, trace
from .errors import Usage
from .tools import tools

DESCRIPTION = """\
See what a running Python program does: each TOOL answers one question by USDT probes
and bpftrace.  Tracing needs root; the program does not.
"""
EXAMPLES = """\
examples:
  sudo pyusdt calls -- script.py      count the calls of every function
  sudo pyusdt ps                      which processes can be traced
  sudo pyusdt calls -p 4711 -d 10     one of them, for 10 seconds
  sudo pyusdt doctor                  why it does not work, and the cure
  pyusdt TOOL --help                  what a tool shows, and how to read it
"""
# In the order of --help, behind the tools.
COMMANDS = (ps, list_probes, trace, configure, doctor, lib, completion)


class Parser(argparse.ArgumentParser):
    """Wrong command lines end as every other error does, in main()."""

    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message}; `{self.prog} --help` explains")


def build() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="pyusdt",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
        usage="pyusdt TOOL [-p PID | -n NAME] [options] [-- script.py args...]\n"
        "       pyusdt COMMAND [options]",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pyusdt {pyusdt.__version__}")
    commands = parser.add_subparsers(
        prog="pyusdt",
        dest="command",
        metavar="TOOL or COMMAND",
        title="tools and commands",
        required=False,
    )
    for tool in tools().values():
        run_tool.add(commands, tool)
    for command in COMMANDS:
        command.add(commands)
    return parser


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name: parser of each tool and command."""
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def summaries(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Name: one line."""
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {choice.dest: choice.help or "" for choice in action._choices_actions}


def parse(words: list[str]) -> argparse.Namespace:
    """The command line; what stands after -- is args.program, as it was typed."""
    program: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, program = words[:at], words[at + 1 :]
        if not program:
            raise Usage("no program after --; type: -- script.py, or -- -m module")
    args = build().parse_args(words)
    args.program = program
    if args.command is None:
        raise Usage("no tool or command; `pyusdt --help` lists them")
    if program and not hasattr(args, "name"):
        raise Usage(f"pyusdt {args.command} runs no program; leave out --")
    return args
