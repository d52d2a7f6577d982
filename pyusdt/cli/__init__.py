"""The `pyusdt` command; also `python -m pyusdt.cli`.

One file a subcommand; each has add(), which describes its command line, and run(),
which gives the exit code.  Errors become one line on stderr and an exit code here and
nowhere else: 2 for a wrong command line, 1 for everything else.
"""

import signal
import sys

__all__ = ["main"]


def main(words: list[str] | None = None) -> int:
    """Entry of the command.  words: without the program's name; sys.argv's by default."""
    try:
        from .session import SIGNALS

        SIGNALS.begin()
        return _main(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:  # before signals were ours
        return 128 + signal.SIGINT


def _main(words: list[str]) -> int:
    from .errors import Failure
    from .parser import parse

    try:
        args = parse(words)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except Failure as error:
        sys.stdout.flush()
        print(f"pyusdt: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:  # the reader has gone, as with | head
        # Nothing is left to be flushed at exit.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
        return 128 + signal.SIGPIPE
