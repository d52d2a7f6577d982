"""pyusdt list: the probes of the library, or of a process's library."""

import argparse

from . import elf, library, options, table, targets
from .errors import Failure

COLUMNS = ["provider", "probe", "names", "arguments"]
DESCRIPTION = """\
List the probes by the library's ELF notes: the names of arg0, arg1, ..., and where a
tracer finds them, each with its size in bytes (negative: signed) and register.
docs/probes.md says what they mean.
"""
EXAMPLES = """\
examples:
  pyusdt list
  sudo pyusdt list -p 4711
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "list",
        help="list the probes and their arguments",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
    )
    options.add_pid(parser, "of this process's library (of the command's own)")
    options.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.pid is not None:
        probes = targets.by_pid(args.pid).probes
    else:
        try:
            probes = elf.probes(library.path())
        except (OSError, ValueError) as error:
            raise Failure(f"cannot read the library: {error}") from error
    seen = {
        (p.provider, p.name, " ".join(library.arguments(p.name)), " ".join(p.arguments.split()))
        for p in probes
    }
    table.show(COLUMNS, [list(row) for row in sorted(seen)], args.format)
    return 0
