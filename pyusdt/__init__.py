"""USDT probes for CPython, fed by sys.monitoring (PEP 669).

Importing this package is all it takes: from then on bpftrace, perf, bcc,
SystemTap or any other tracer that knows USDT can attach to this process and
see its Python functions.  Nothing is printed, and nothing is computed, until
one does.

    pyusdt.lib             path of the shared library with the probes (str)
    pyusdt.probes()        the table of probes
    pyusdt.arguments(name) the arguments of a probe
    pyusdt.enabled(name)   whether a tracer is attached to a probe
    pyusdt.configure(...)  change settings: which functions, how slow, ...
    pyusdt.mark(name, value)     fires the probe MARK
    with pyusdt.span(name): ...  fires SPAN_BEGIN and SPAN_END; a decorator, too
"""

# This file must compile on every Python 3, so that an old one is told what is
# wrong in one line.
import sys

__all__ = [
    "__version__",
    "arguments",
    "configure",
    "enabled",
    "lib",
    "mark",
    "probes",
    "span",
]
__version__ = "0.2.0.dev0"


# The modules of this package that run as programs.
_PROGRAMS = ("pyusdt", "pyusdt.__main__", "pyusdt.cli", "pyusdt.cli.__main__")


def _is_program() -> bool:
    """True while `python -m pyusdt` or the pyusdt command imports this package.

    The runner starts the library itself, right before the program's first line;
    otherwise a tracer would see the runner's own work.  The command never does.
    """
    # pip's script for the command, in a virtual environment or not.
    if sys.argv and sys.argv[0].rpartition("/")[2] == "pyusdt":
        return True
    # A subinterpreter begins with the same sys.argv, but never as the runner.
    if sys.argv[:1] != ["-m"] or not libpyusdt.in_main_interpreter():
        return False
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word == "-m":
            return next(words, "") in _PROGRAMS
        if word.startswith("-m"):
            return word[2:] in _PROGRAMS
    return False


def _refuse(text: str) -> None:
    if sys.argv[:1] == ["-m"]:
        sys.exit("pyusdt: " + text)
    raise ImportError("pyusdt: " + text)


if sys.implementation.name != "cpython" or sys.version_info < (3, 12):
    _refuse(
        "%s is %s %d.%d; run the program with CPython 3.12 or newer"
        % ((sys.executable, sys.implementation.name) + sys.version_info[:2])
    )

try:
    from . import libpyusdt
except ModuleNotFoundError:
    _refuse(
        "its library is not built for %s; type: make PYTHON=%s"
        % (sys.implementation.cache_tag, sys.executable)
    )

lib = libpyusdt.__file__
probes = libpyusdt.probes
arguments = libpyusdt.arguments
enabled = libpyusdt.enabled
configure = libpyusdt.configure
mark = libpyusdt.mark
span = libpyusdt.span

if not _is_program():
    libpyusdt.start()
