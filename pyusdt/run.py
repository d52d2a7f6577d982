"""Runs a program under pyusdt as `python` itself would run it.

    python -m pyusdt [options] script.py [args...]

This module reads the command line and sets up sys.argv, sys.path and __main__;
src/main.c then hands the program to the interpreter.

It imports next to nothing: what it imported, the program would find imported.
"""

import importlib.machinery
import os
import sys
import time

from pyusdt import __version__, lib, libpyusdt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    # Seconds to wait for a tracer, or the socket of the pyusdt command.
    Gate = float | int | None

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


def _say(text: str) -> None:
    if sys.stderr is not None:  # it is None if python was started without one
        print(f"pyusdt: {text}", file=sys.stderr, flush=True)


def _fail(text: str) -> "NoReturn":
    _say(text)
    sys.exit(2)


# ---- the command line ----


def _parse(words: list[str]) -> tuple["Gate", str, list[str]]:
    """(what holds the program, what is run, its argv).

    What is run is one of "-m", "-c", "-", "file"; argv[0] is the module, the
    command, "-" or the path.
    """
    wait: Gate = None
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
        _tell(word)
        if word == "--wait" or word.startswith("--wait="):
            wait = _seconds(word)
        elif word.startswith("--gate="):  # not for people: `pyusdt TOOL -- ...` types it
            wait = _descriptor(word)
        else:
            _fail(
                f"unknown option {word}; python -m pyusdt --help lists ours, "
                "and python's own go before -m pyusdt"
            )
    if not rest:
        _fail("no script; type: python -m pyusdt script.py")
    return wait, "-" if rest[0] == "-" else "file", rest


def _tell(word: str) -> None:
    """Exits if all that is wanted is to be told something."""
    said = {
        "-h": HELP,
        "--help": HELP,
        "--version": f"pyusdt {__version__}\n",
        "--lib": f"{lib}\n",
    }
    if word in said:
        print(said[word], end="")
        sys.exit(0)


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


def _descriptor(word: str) -> int:
    number = word.partition("=")[2]
    if not number.isdecimal():
        _fail(f"{word}: give the number of an open socket")
    return int(number)


# ---- the gate ----


def _wait_for_command(descriptor: int) -> None:
    """Tells the pyusdt command that the library is loaded; returns when it says so.

    It says so when its tracer is attached to everything; here it is seen to that the
    events which the tracer wants are on.  If the command has died, the program runs.
    """
    try:
        os.set_inheritable(descriptor, False)
        os.write(descriptor, b"1")
        os.read(descriptor, 1)
        os.close(descriptor)
    except OSError as error:
        _fail(f"--gate={descriptor}: {error.strerror}; `pyusdt TOOL -- ...` gives this option")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        raised, armed = libpyusdt.tracing()
        if raised & ~armed == 0:
            return
        time.sleep(0.001)


def _wait_for_tracer(seconds: float) -> None:
    """Returns when a tracer is attached and counts, or the time is over."""
    _say(f"waiting for a tracer to attach to process {os.getpid()}")
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
            _say(f"no tracer attached within {seconds:g} seconds; running without")
            return
        time.sleep(0.002)


# ---- the program ----


def _fresh_main() -> None:
    """A new __main__, with what python puts into it before a program runs."""
    main = type(sys)("__main__")
    main.__loader__ = importlib.machinery.BuiltinImporter
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    vars(main)["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _set_path0(entry: str | None, always: bool = False) -> None:
    """Puts entry where python put the current directory, for `-m pyusdt`."""
    if not sys.flags.safe_path and _cwd() is not None:
        del sys.path[0]
    if entry is not None and (always or not sys.flags.safe_path):
        sys.path.insert(0, entry)


def _is_importable(path: str) -> bool:
    """True for a directory, a zip file, or what else a path hook can import from."""
    cache = sys.path_importer_cache
    if path not in cache:
        cache[path] = None
        for hook in sys.path_hooks:
            try:
                cache[path] = hook(path)
                break
            except (ImportError, OSError):  # the latter in a deleted directory
                pass
    return cache[path] is not None


def _absolute(path: str) -> str:
    """As python does it, which normalises nothing: ./x.py is /cwd/./x.py."""
    cwd = _cwd()
    if os.path.isabs(path) or cwd is None:
        return path
    return cwd if path in ("", ".") else f"{cwd}/{path}"


def _cannot_open(path: str, error: OSError) -> "NoReturn":
    _fail(f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}")


def _script(argv: list[str]) -> "Callable[[], int]":
    sys.argv = argv
    path = _absolute(argv[0])
    if _is_importable(path):
        _set_path0(path, always=True)
        return lambda: libpyusdt.run_module("__main__", False)

    def run() -> int:
        try:
            return libpyusdt.run_file(path)
        except OSError as error:
            _cannot_open(path, error)

    try:
        os.stat(path)  # so that nobody waits in vain
    except OSError as error:
        _cannot_open(path, error)
    _set_path0(os.path.dirname(os.path.realpath(path)))
    return run


def _command(argv: list[str]) -> "Callable[[], int]":
    source = argv[0] + "\n"  # as python has it in its audit events
    sys.argv = ["-c", *argv[1:]]
    _set_path0("")
    if sys.version_info >= (3, 14):
        source = _dedent(source)
    return lambda: libpyusdt.run_command(source)


def _dedent(source: str) -> str:
    """From 3.14 on, python takes away the indentation that all lines share."""
    lines = [line if line.strip(" \t") else "" for line in source.split("\n")]
    full = [line for line in lines if line]
    first, last = min(full, default=""), max(full, default="")
    margin = 0
    while margin < len(first) and first[margin] == last[margin] and first[margin] in " \t":
        margin += 1
    return "\n".join(line[margin:] for line in lines)


def _stdin(argv: list[str]) -> "Callable[[], int]":
    sys.argv = argv
    _set_path0("")
    return libpyusdt.run_stdin


def _module(argv: list[str]) -> "Callable[[], int]":
    sys.argv = ["-m", *argv[1:]]
    _set_path0(_cwd())
    return lambda: libpyusdt.run_module(argv[0], True)


def _prepare(words: list[str]) -> "Callable[[], int]":
    wait, what, argv = _parse(words)
    kinds = {"-m": _module, "-c": _command, "-": _stdin, "file": _script}
    run = kinds[what](argv)
    if isinstance(wait, float):
        _wait_for_tracer(wait)
    elif wait is not None:
        _wait_for_command(wait)
    _fresh_main()
    return run


def main() -> None:
    """Entry of `python -m pyusdt`.  Returns only if python is to show its prompt."""
    try:
        _prepare(sys.argv[1:])()
    except KeyboardInterrupt:  # while waiting
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except SystemExit:
        if not sys.flags.inspect:
            raise
