"""Options that several subcommands share, and what they mean."""

import argparse
import math
from typing import IO

from . import targets
from .errors import Failure, Usage
from .targets import Target

FORMATS = ("text", "json", "csv")


class Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=80)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def add_pid(parser: argparse.ArgumentParser, about: str) -> None:
    parser.add_argument("-p", "--pid", type=count, metavar="PID", help=about)


def add_target(parser: argparse.ArgumentParser) -> None:
    add_pid(parser, "trace this process")
    parser.add_argument(
        "-n", "--name", metavar="NAME", help="trace the process with this name, script or module"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--include", metavar="PATTERN", help="only functions or files like this")
    parser.add_argument("--exclude", metavar="PATTERN", help="no functions or files like this")
    parser.add_argument(
        "--slow-usec",
        type=count,
        metavar="N",
        help="what counts as a slow call, in microseconds",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--duration", type=positive, metavar="SECONDS", help="end after so long"
    )
    add_format(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write the results into FILE")


def add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--format", choices=FORMATS, default="text", help="of the results (text)"
    )


def target(args: argparse.Namespace) -> Target | None:
    """The running process that is meant; None for a program to be started, or for all."""
    given = [
        name for name, value in (("-p", args.pid), ("-n", args.name), ("--", args.program)) if value
    ]
    if len(given) > 1:
        raise Usage(f"{' and '.join(given)} exclude one another; give one")
    if args.pid is not None:
        return targets.by_pid(args.pid)
    if args.name is not None:
        return targets.by_name(args.name)
    return None


def settings(args: argparse.Namespace) -> dict[str, int | str]:
    """The settings that are given, by their names in pyusdt.control."""
    wanted = {"include": args.include, "exclude": args.exclude, "slow_usec": args.slow_usec}
    found = {name: value for name, value in wanted.items() if value is not None}
    if found and not args.program and args.pid is None and args.name is None:
        raise Usage(f"{', '.join(found)}: settings of one process; give -p, -n or -- script.py")
    return found


def environment(settings: dict[str, int | str]) -> dict[str, str]:
    """Settings as a program to be started reads them."""
    return {f"PYUSDT_{name.upper()}": str(value) for name, value in settings.items()}


def open_output(path: str) -> IO[str]:
    try:
        return open(path, "w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from error
