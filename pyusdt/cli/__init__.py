"""The `pyusdt` command; also `python -m pyusdt.cli`.

One file a subcommand; each has add(), which describes its command line, and run(),
which gives the exit code.  Errors become one line on stderr and an exit code here and
nowhere else: 2 for a wrong command line, 1 for everything else.
"""

import os
import signal
import sys

__all__ = ["main"]

if sys.argv[:1] == ["-m"] or (sys.argv[:1] and sys.argv[0].endswith("/pyusdt")):
    # A Ctrl-C ends the command at once until it can be handled, and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main(words: list[str] | None = None) -> int:
    """Entry of the command.  words: without the program's name; sys.argv's by default."""
    from .session import SIGNALS

    SIGNALS.begin()
    return _main(sys.argv[1:] if words is None else words)


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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f"pyusdt: {error}", file=sys.stderr)
        return 1
