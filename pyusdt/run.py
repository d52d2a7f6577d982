"""Runs a program under pyusdt as `python` itself would run it.

    python -m pyusdt [options] script.py [args...]

This module reads the command line and sets up sys.argv, sys.path and __main__;
src/main.c then hands the program to the interpreter.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from pyusdt import __version__, lib, libpyusdt

HELP = """\
usage: python -m pyusdt [options] script.py [args...]
       python -m pyusdt [options] -m module [args...]
       python -m pyusdt [options] -c command [args...]
       python -m pyusdt [options] directory|file.zip [args...]
       python -m pyusdt [options] - [args...]

Run a Python program so that a tracer (bpftrace, perf, bcc, ...) can see its
functions by USDT probes.  The program runs as under plain python; options of
python itself go before -m pyusdt.

options:
  --wait[=SECONDS]  hold the program until a tracer is attached and counting;
                    with SECONDS, run it after that time all the same
  --lib             print the path of the library with the probes
  --version         print the version
  -h, --help        print this

environment:
  PYUSDT_CHECK_MSEC  longest time until a tracer is noticed, ms (100)
  PYUSDT_VALUE_MAX   longest text of a value, bytes (128)
  PYUSDT_VERBOSE=1   say on stderr when monitoring begins and ends
  PYUSDT_DISABLE=1   no probes at all
"""

# A tracer attaches its probes one after the other.  The program may start when
# nothing has changed for this long; bpftrace 0.17 with -p needs some 20 ms from
# the semaphore to the first count.
SETTLE_SECONDS = 0.25


def _fail(text: str, status: int = 2) -> NoReturn:
    print(f"pyusdt: {text}", file=sys.stderr)
    sys.exit(status)


# ---- the command line ----


def _parse(words: list[str]) -> tuple[float | None, str, list[str]]:
    """(seconds to wait or None, what is run, its argv).

    What is run is one of "-m", "-c", "-", "file"; argv[0] is the module, the
    command, "-" or the path.
    """
    wait: float | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            rest.insert(0, word)
            break
        if word[:2] in ("-m", "-c"):
            if len(word) > 2:
                rest.insert(0, word[2:])
            if not rest:
                _fail(f"option {word} needs {'a module' if word == '-m' else 'a command'}")
            return wait, word[:2], rest
        if word in ("-h", "--help"):
            sys.stdout.write(HELP)
            sys.exit(0)
        if word == "--version":
            print(f"pyusdt {__version__}")
            sys.exit(0)
        if word == "--lib":
            print(lib)
            sys.exit(0)
        if word == "--wait" or word.startswith("--wait="):
            wait = _seconds(word)
        else:
            _fail(f"unknown option {word}; python -m pyusdt --help lists them")
    if not rest:
        _fail("no script; type: python -m pyusdt script.py")
    return wait, "-" if rest[0] == "-" else "file", rest


def _seconds(word: str) -> float:
    text = word.partition("=")[2]
    if word == "--wait":
        return float("inf")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e9:
        _fail(f"{word}: give a number of seconds, such as --wait=10")
    return seconds


# ---- the gate ----


def _wait_for_tracer(seconds: float) -> None:
    """Returns when a tracer is attached and counts, or the time is over."""
    print(f"pyusdt: waiting for a tracer to attach to process {os.getpid()}", file=sys.stderr)
    sys.stderr.flush()
    end = time.monotonic() + seconds
    before: tuple[int, int] | None = None
    changed = time.monotonic()
    while True:
        raised, armed = now = libpyusdt.tracing()
        if now != before:
            before, changed = now, time.monotonic()
        settled = raised != 0 and raised & ~armed == 0
        if settled and time.monotonic() - changed >= SETTLE_SECONDS:
            return
        if not settled and time.monotonic() >= end:
            print(
                f"pyusdt: no tracer attached within {seconds:g} seconds; running without",
                file=sys.stderr,
            )
            sys.stderr.flush()
            return
        time.sleep(0.002)


# ---- the program ----


def _fresh_main() -> None:
    """A new __main__, with what python puts into it before a program runs."""
    import builtins
    import importlib.machinery
    import types

    main = types.ModuleType("__main__")
    main.__loader__ = importlib.machinery.BuiltinImporter
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__builtins__ = builtins  # type: ignore[attr-defined]
    sys.modules["__main__"] = main


def _set_path0(entry: str) -> None:
    """Replaces the entry that python put first for `-m pyusdt`."""
    if not sys.flags.safe_path:
        sys.path[0] = entry


def _script(path: str, argv: list[str]) -> Callable[[], int]:
    from pkgutil import get_importer

    if get_importer(path) is not None:  # a directory or a zip file
        sys.argv = argv
        if sys.flags.safe_path:
            sys.path.insert(0, path)
        else:
            sys.path[0] = path
        return lambda: libpyusdt.run_module("__main__", False)

    # python does not normalise the path of a script: ./x.py is /cwd/./x.py.
    full = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    try:
        with open(full, "rb"):
            pass
    except IsADirectoryError:
        _fail(f"{full!r} is a directory, cannot continue", 1)
    except OSError as error:
        _fail(f"can't open file {full!r}: [Errno {error.errno}] {error.strerror}")
    sys.argv = argv
    _set_path0(os.path.dirname(os.path.realpath(full)))
    return lambda: libpyusdt.run_file(full)


def _command(source: str, argv: list[str]) -> Callable[[], int]:
    sys.argv = ["-c", *argv]
    _set_path0("")
    if sys.version_info >= (3, 14):
        from textwrap import dedent

        source = dedent(source)
    if sys.version_info >= (3, 13):
        # From 3.13 on, python shows the command's lines in tracebacks.
        import linecache

        lines = source.splitlines(keepends=True)
        linecache.cache["<string>"] = (len(source), None, lines, "<string>")
    return lambda: libpyusdt.run_command(source)


def _stdin(argv: list[str]) -> Callable[[], int]:
    sys.argv = ["-", *argv]
    _set_path0("")
    return libpyusdt.run_stdin


def _module(name: str, argv: list[str]) -> Callable[[], int]:
    sys.argv = ["-m", *argv]
    return lambda: libpyusdt.run_module(name, True)


def main() -> None:
    """Entry of `python -m pyusdt`."""
    wait, what, argv = _parse(sys.argv[1:])
    if what == "-m":
        run = _module(argv[0], argv[1:])
    elif what == "-c":
        run = _command(argv[0], argv[1:])
    elif what == "-":
        run = _stdin(argv[1:])
    else:
        run = _script(argv[0], argv)
    if wait is not None:
        _wait_for_tracer(wait)
    _fresh_main()
    if run() == 0:
        return
    # An unhandled exception was printed.  With -i or PYTHONINSPECT python goes
    # on to its prompt; after KeyboardInterrupt it kills itself by SIGINT.
    inspect = sys.flags.inspect or os.environ.get("PYTHONINSPECT")
    interrupted = type(getattr(sys, "last_exc", None)) is KeyboardInterrupt
    if not (inspect or interrupted):
        sys.exit(1)
