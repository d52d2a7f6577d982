"""Everything that pyusdt does with threads and memory, in one process: for `make sanitize`.

    python tests/stress.py SECONDS

Semaphores are raised and lowered, threads are born and die, the library's file is
opened as a tracer opens it, values of every kind are given to the probes; first
that alone, then while children are forked, then while interpreters come and go,
a third of the time each. (CPython itself can do only one of the two at a time: its
fork() kills or blocks a child when there are other interpreters.) At the end a
probe is still traced.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import notes  # noqa: E402

import pyusdt  # noqa: E402

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

TSAN = "libtsan" in os.environ.get("LD_PRELOAD", "")
NAMES = [probe[0] for probe in pyusdt.probes()]
counts = Counter()
failures = []


def together(seconds, *functions):
    """Runs each again and again, in a thread of its own."""
    end = time.monotonic() + seconds

    def run(function):
        while time.monotonic() < end and not failures:
            try:
                function(counts[function.__name__])
            except BaseException:
                failures.append(traceback.format_exc())
            counts[function.__name__] += 1

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def raise_and_lower(n):
    names = NAMES[n % len(NAMES) :][: 1 + n % 5]
    for name in names:
        notes.raise_semaphore(name)
    time.sleep(0.003 * (n % 3))
    for name in names:
        notes.lower_semaphore(name)


def give(value):
    yield value
    return value


class Error(Exception):
    def method(self):
        return self


Error.__qualname__ = "Größe"


def work(n):
    values = [
        None,
        n,
        n << 70,
        n / 7,
        "é\udc80日" * (n % 99),
        bytes(range(n % 256)),
        [[[[n]]]],
        (n,),
        {n: n},
    ]
    values += [Error(n), Error.method, Error(n).method, print, bytes.maketrans, "x".join, Error]
    for value in values:
        try:
            for _ in give(value):
                raise Error(value)
        except Error:
            pass
    thread = threading.Thread(target=list, args=(give(n),))
    thread.start()
    thread.join()


def fork(n):
    time.sleep(0.01)
    pid = os.fork()
    if pid == 0:
        notes.raise_semaphore("PY_RETURN")
        list(give(n))
        time.sleep(0.002)
        os._exit(7)
    end = time.monotonic() + 20
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            # ThreadSanitizer does not see to it that no other thread holds the lock of
            # its memory when we fork; then the child's next malloc() waits for ever.
            assert TSAN, "a child hangs"
            return
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(done[1]) == 7


def interpreter(n):
    inside = interpreters.create()
    root = os.path.dirname(os.path.dirname(pyusdt.__file__))
    failed = interpreters.run_string(
        inside, f"import sys; sys.path[:0] = [{root!r}]; import pyusdt"
    )
    assert failed is None, failed
    time.sleep(0.002)
    interpreters.destroy(inside)


def open_library(n):
    open(pyusdt.lib).close()
    time.sleep(0.001)


always = [raise_and_lower, work, open_library]
phases = [always, [*always, fork, fork]]
if sys.version_info >= (3, 13, 1) or sys.version_info < (3, 13):
    # 3.13.0 dies when two threads make a thread state of an interpreter (cpython#126914).
    phases.append([*always, interpreter, interpreter])
for phase in phases:
    together(float(sys.argv[1]) / len(phases), *phase)
if failures:
    sys.exit("\n".join(failures))
notes.raise_semaphore("LINE")
wanted = {function.__name__ for phase in phases for function in phase}
if wanted != {name for name, count in counts.items() if count}:
    sys.exit(f"stress.py: not everything was done: {counts}")
print("stress.py:", ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
