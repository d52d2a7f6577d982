"""pyusdt configure: the settings of a running process, shown or changed."""

import argparse
import contextlib
from collections.abc import Iterator

from pyusdt import control
from pyusdt.process import ProcessError

from . import options, table, targets
from .errors import Failure, Usage

COLUMNS = ["setting", "value"]
DESCRIPTION = """\
Show the settings of a running process, or change them; they stay until they are changed
again or the process ends.  They are those of the environment: PYUSDT_INCLUDE and so on.
Patterns are separated by commas and match a function's qualified name or its file;
an empty text takes them away.
"""
EXAMPLES = """\
examples:
  sudo pyusdt configure -p 4711
  sudo pyusdt configure -p 4711 --include '*/myapp/*' --slow-usec 50000
  sudo pyusdt configure -n gunicorn --include '' --exclude '*/site-packages/*'
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "configure",
        help="show or change the settings of a running process",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
    )
    options.add_pid(parser, "of this process")
    parser.add_argument("-n", "--name", metavar="NAME", help="of the process with this name")
    for name in control.PATTERNS:
        verb = "serve only" if name == "include" else "leave out"
        parser.add_argument(
            f"--{name}", metavar="PATTERN", help=f"{verb} functions or files like this"
        )
    for name, (smallest, largest) in control.NUMBERS.items():
        word = name.replace("_", "-")
        about = f"PYUSDT_{name.upper()}: {smallest} to {largest}"
        parser.add_argument(f"--{word}", type=int, metavar="N", help=about)
    options.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = options.target(args)
    if target is None:
        raise Usage("name a process: -p PID or -n NAME")
    names = [*control.NUMBERS, *control.PATTERNS]
    changes = {name: value for name in names if (value := getattr(args, name)) is not None}
    table.show(COLUMNS, [list(item) for item in apply(target, changes).items()], args.format)
    return 0


def apply(target: targets.Target, changes: dict[str, int | str]) -> dict[str, int | str]:
    """Changes settings; gives all that are in force then."""
    try:
        if not changes:
            return control.settings(target.pid)
        return control.configure(target.pid, **changes)
    except ValueError as error:
        raise Usage(str(error)) from error
    except ProcessError as error:
        raise Failure(str(error)) from error


@contextlib.contextmanager
def for_a_while(target: targets.Target | None, changes: dict[str, int | str]) -> Iterator[None]:
    """Settings of a running process, as they were again afterwards."""
    if target is None or not changes:
        yield
        return
    before = apply(target, {})
    apply(target, changes)
    try:
        yield
    finally:
        with contextlib.suppress(Failure):  # it has ended
            apply(target, {name: before[name] for name in changes})
