"""Real, unmodified clients of the provider `python`: bcc's tools, perf, gdb, SystemTap.

Where the interpreter has a probe itself (CPython 3.13 and 3.14 of Debian: gc and import;
3.15: functions, too) the client finds that one, and ours is not mapped.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from glob import glob
from pathlib import Path

import pytest
from conftest import ROOT
from notes import Elf
from test_notes import NOPS
from test_python_provider import lacking, objects

SOURCE = (ROOT / "tests/programs/orders.py").read_text()
# Calls that one `work` makes, and how often each function is entered and left.
LEAF, BRANCH = 20, 10
ENTRY = ("PY_START", "PY_RESUME", "PY_THROW")
RETURN = ("PY_RETURN", "PY_YIELD", "PY_UNWIND")

pytestmark = [
    pytest.mark.tracer,
    pytest.mark.skipif(os.geteuid() != 0, reason="a tracer needs root: sudo make test"),
]


def line_of(text: str) -> int:
    return SOURCE.split("\n").index(text) + 1


def missing(*commands: str) -> None:
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"{command} is missing: scripts/setup.sh clients installs it")


class Program:
    """tests/programs/orders.py, which does one thing for each order."""

    def __init__(self, python, path: str):
        self.python = python
        self.process = subprocess.Popen(
            [python.path, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=python.env(PYUSDT_CHECK_MSEC="1"),
        )
        self.pid = str(self.process.pid)
        assert self.process.stdout.readline() == "ready\n"
        self.ours = "function" in lacking(python)

    def send(self, *words: str) -> None:
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()

    def order(self, *words: str) -> None:
        self.send(*words)
        assert self.process.stdout.readline() == "done\n"

    def work(self, *events: str) -> None:
        """As soon as these events are registered, if it is we who feed the probes."""
        self.order("work", *(events if self.ours else ()))

    def wait_for_breakpoint(self, name: str, client) -> None:
        """Until a probe of `python` has been attached to, its nop is gone; or the client is."""
        addresses, nop = self._sites(name)
        end = time.monotonic() + 60
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            while any(os.pread(memory.fileno(), len(nop), at) == nop for at in addresses):
                if client.process.poll() is not None:
                    break
                assert time.monotonic() < end, f"nobody attached to {name}"
                time.sleep(0.002)

    def _sites(self, name: str) -> tuple[list[int], bytes]:
        """Where its nops are in the process, and what a nop is."""
        addresses, nop = [], b""
        maps = [line.split() for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines()]
        code = [m for m in maps if m[1].startswith("r-x") and m[-1][0] == "/"]
        for area, _, offset, _, _, path in code:
            start, end = (int(x, 16) for x in area.split("-"))
            first = int(offset, 16)
            elf = Elf(path)
            for note in elf.notes():
                at = elf.offset(note.location)
                if (note.provider, note.name) == ("python", name) and 0 <= at - first < end - start:
                    addresses.append(start + at - first)
                    nop = NOPS[elf.machine]
        assert addresses, f"no probe {name} in the process"
        return addresses, nop

    def entries(self) -> dict[str, int]:
        """What one work() is, in entries of functions.

        CPython 3.15 takes the call that makes a generator for an entry of it, too.
        """
        return {"leaf": LEAF, "branch": BRANCH, "numbers": 3 if self.ours else 4, "work": 1}


@pytest.fixture
def program(python, programs):
    running = Program(python, programs + "orders.py")
    with running.process as process:
        yield running
        process.kill()


class Client:
    """A client that runs until Ctrl-C, as in a terminal: `with Client(...) as client`."""

    def __init__(self, *command: str, ready: str | None = None, **popen):
        self.command = command
        self.ready = ready
        self.popen = popen
        self.output = ""

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "LC_ALL": "C"},
            **self.popen,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        if self.ready is not None:
            self.wait_for(self.ready)
        return self

    def _read(self):
        for line in self.process.stdout:
            self.output += line.decode("utf-8", "replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        end = time.monotonic() + 120
        while self.output.count(text) < times:
            if time.monotonic() > end or not self.reader.is_alive():
                self.stop()
                raise AssertionError(f"{self.command} never printed {text!r}:\n{self.output}")
            time.sleep(0.01)

    def finish(self) -> str:
        """Until it ends by itself."""
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command} does not end:\n{self.stop()}") from None
        self.reader.join()
        return self.output

    def stop(self) -> str:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        return self.output

    def __exit__(self, *exc):
        self.stop()
        self.process.stdout.close()


# ---- bcc ----


def bcc(*command: str, ready: str) -> Client:
    """One of bcc's tools.  Its compiler wants headers of a kernel: those of the running one,
    or, in a mount namespace of its own, any other in its place."""
    missing(command[0])
    release = os.uname().release
    if os.path.exists(f"/lib/modules/{release}/build") or os.path.exists(
        "/sys/kernel/kheaders.tar.xz"
    ):
        return Client(*command, ready=ready)
    found = sorted(glob("/usr/src/linux-headers-*/include/generated/autoconf.h"))
    if not found:
        pytest.skip("no kernel headers in /usr/src: scripts/setup.sh clients installs them")
    return Client(str(ROOT / "scripts/any-headers.sh"), *command, ready=ready)


def test_tplist(python, program):
    """Every probe name of `python` once: in the interpreter or in ours."""
    missing("tplist-bpfcc")
    done = subprocess.run(
        ["tplist-bpfcc", "-p", program.pid], capture_output=True, text=True, check=True, timeout=60
    )
    found = set(re.findall(r"^(?:\S*/)?(\S+) python:(\w+)$", done.stdout, re.MULTILINE))
    names = [name for _, name in found]
    assert len(names) == len(set(names)), done.stdout
    assert {"function__entry", "function__return", "line", "gc__start", "gc__done"} <= set(names)
    assert {"import__find__load__start", "import__find__load__done"} <= set(names)
    ours = {name for file, name in found if file.startswith("libpython-usdt-")}
    notes = [Elf(path).notes() for g, path in objects(python).items() if g in lacking(python)]
    assert ours == {note.name for group in notes for note in group}


def test_pythoncalls(program):
    """pythoncalls, which is ucalls -l python: the number of calls of each function."""
    with bcc("pythoncalls-bpfcc", program.pid, ready="Tracing calls in process") as client:
        program.work(*ENTRY)
        text = client.stop()
    counts = dict(re.findall(r"/orders\.py\.(\w+) +(\d+)$", text, re.MULTILINE))
    counts = {name: int(n) for name, n in counts.items() if name in program.entries()}
    assert counts == program.entries(), text


def test_pythoncalls_latency(program):
    """The same with the time between entry and return: they must pair up."""
    with bcc("pythoncalls-bpfcc", "-L", program.pid, ready="Tracing calls in process") as client:
        program.work(*ENTRY, *RETURN)
        text = client.stop()
    found = re.findall(r"/orders\.py\.(\w+) +(\d+) +([\d.]+)$", text, re.MULTILINE)
    counts = {name: int(count) for name, count, _ in found}
    assert counts.items() >= {"leaf": LEAF, "branch": BRANCH, "work": 1, "numbers": 3}.items(), text
    assert all(float(usec) > 0 for _, _, usec in found)


def test_pythonflow(program, programs):
    """pythonflow, which is uflow -l python: calls and returns in their order, indented."""
    with bcc("pythonflow-bpfcc", program.pid, ready="CPU") as client:
        program.work(*ENTRY, *RETURN)
        client.wait_for(f"<- {programs}orders.py.work")
        text = client.stop()
    flow = re.findall(
        r"^\d+ +\d+ +\d+ +[\d.]+( +)(->|<-) \S*/orders\.py\.(\w+) *$", text, re.MULTILINE
    )
    flow = [(len(spaces), way, name) for spaces, way, name in flow if name in program.entries()]
    start = next(i for i, (_, way, name) in enumerate(flow) if (way, name) == ("->", "work"))
    depth = flow[start][0]
    flow = [(spaces - depth, way, name) for spaces, way, name in flow[start:]]
    leaf = [(4, "->", "leaf"), (4, "<-", "leaf")]
    branch = [(2, "->", "branch"), *leaf, *leaf, (2, "<-", "branch")]
    assert flow[: 1 + 6 * BRANCH] == [(0, "->", "work"), *branch * BRANCH], text
    numbers = [(way, name) for _, way, name in flow[1 + 6 * BRANCH :]]
    pair = [("->", "numbers"), ("<-", "numbers")]
    extra = [] if program.ours else pair[:1]
    assert numbers == [*extra, *pair * 3, ("<-", "work")], text


def test_pythongc(program):
    """pythongc, which is ugc -l python: one line a collection."""
    title = "DESCRIPTION"
    with bcc("pythongc-bpfcc", program.pid, ready=title) as client:

        def lines() -> list[float]:
            after = client.output.split(title, 1)[1]
            return [float(t) for t in re.findall(r"^[\d.]+ +([\d.]+) ", after, re.MULTILINE)]

        # The first ones may come before everything is in place.
        end = time.monotonic() + 60
        while not lines():
            assert time.monotonic() < end, client.output
            program.order("gc")
            time.sleep(0.05)
        seen = len(lines())
        for _ in range(5):
            program.order("gc")
        while len(lines()) < seen + 5:
            assert time.monotonic() < end, client.output
            time.sleep(0.01)
        client.stop()
    assert len(lines()) == seen + 5, client.output
    assert all(usec > 0 for usec in lines())


def test_pythonstat(program):
    """pythonstat, which is ustat -l python: calls a second, of each process named python."""
    # Long enough that a busy machine has done the work before the only line of output.
    seconds, rounds = 5, 100
    for _ in range(5):
        with bcc("pythonstat-bpfcc", "-C", str(seconds), "1", ready="Tracing...") as client:
            # It says so before it attaches.
            program.wait_for_breakpoint("function__entry", client)
            if client.process.poll() is None:
                program.work(*ENTRY)
                program.order("repeat", str(rounds - 1))
            text = client.finish()
        # It attaches to every process named python, and dies if another test's is gone.
        if "Failed to attach BPF to uprobe" not in text:
            break
    found = re.search(rf"^{program.pid} +.{{20}} +(\d+) +(\d+) ", text, re.MULTILINE)
    assert found, text
    calls = rounds * sum(program.entries().values())
    if not program.ours:
        # ustat counts a call once for each process named python that has mapped the file,
        # and the interpreter's own is not this test's alone.
        assert int(found[1]) >= calls // seconds, text
        return
    # And a few calls of the program that waits for its orders.
    assert 0 <= int(found[1]) - calls // seconds <= 10, text


# ---- perf ----


def perf(home: Path, *words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["perf", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "HOME": str(home), "LC_ALL": "C", "PAGER": "cat"},
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def perf_record(home: Path, event: str, python, path: str, *events: str) -> list[str]:
    """The event's samples, as perf script prints them, of a program that works once."""
    data = home / "perf.data"
    env = {"HOME": str(home), "PYUSDT_PYTHON_PROVIDER": "1", "PYUSDT_CHECK_MSEC": "1"}
    command = ["perf", "record", "-q", "-o", str(data), "-e", event, python.path, path]
    for _ in range(3):
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=python.env(**env),
        ) as recorder:
            text, complaint = recorder.communicate(f"work {' '.join(events)}\n", timeout=60)
        # Now and then it refuses an event that it has just made.
        if "in per-thread mode" not in complaint:
            break
    assert (recorder.returncode, text) == (0, "ready\ndone\n"), complaint
    lines = perf(home, "script", "-i", str(data), "-F", "event,trace").splitlines()
    return [line for line in lines if event in line]


@pytest.mark.parametrize("provider", ["python", "pyusdt"])
def test_perf(python, programs, tmp_path, provider):
    """perf buildid-cache, probe and record of an event of each provider."""
    missing("perf")
    name, lib = {
        "python": ("function__entry", objects(python)["function"]),
        "pyusdt": ("PY_START", python.lib),
    }[provider]
    event = f"sdt_{provider}:{name}"
    perf(tmp_path, "buildid-cache", "--add", os.path.realpath(lib))
    assert event in perf(tmp_path, "list", "sdt")
    names = [event, event.replace("__", "_")]  # the latter: perf 7.2
    for name in names:
        perf(tmp_path, "probe", "-d", name, check=False)  # of a run that was killed
    try:
        (event,) = re.findall(r"^ +(sdt_\w+:\w+) ", perf(tmp_path, "probe", event), re.MULTILINE)
        events = ENTRY if provider == "python" else ("PY_START",)
        samples = perf_record(tmp_path, event, python, programs + "orders.py", *events)
    finally:
        for name in names:
            perf(tmp_path, "probe", "-d", name, check=False)
    starts = {name: line_of(f"def {name}") for name in ("leaf(number):", "branch():", "work():")}
    lines = [int(n, 0) for s in samples for n in re.findall(r"\barg3=(\S+)", s)]
    counts = {name: lines.count(line) for name, line in starts.items()}
    assert counts == {"leaf(number):": LEAF, "branch():": BRANCH, "work():": 1}, samples


# ---- gdb ----


def gdb(program, commands: list[str]) -> str:
    """What gdb says of the program, which works once it has let it go on; it kills it."""
    words = [word for command in commands for word in ("-ex", command)]
    auto = ["-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off"]
    with Client("gdb", *auto, *words, "-p", program.pid, ready="READY\n") as client:
        program.send("work", *(ENTRY if program.ours else ()))
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.process.wait(20)
        return client.stop()


def test_gdb(python, programs):
    """info probes, and break -probe-stap with the arguments."""
    missing("gdb")
    commands = [
        "set pagination off",
        "info probes stap python",
        "info probes stap pyusdt",
        "break -probe-stap python:function__entry",
        'condition 1 $_streq((char *)$_probe_arg1, "leaf")',
        "echo READY\\n",
        "continue",
        'printf "HIT %s %s %d of %d\\n", (char *)$_probe_arg0, (char *)$_probe_arg1, '
        "$_probe_arg2, $_probe_argc",
        "delete",
        "kill",
    ]
    # While the kernel still takes the breakpoints of a tracer that has just left away, it
    # takes gdb's for its own.
    for _ in range(3):
        program = Program(python, programs + "orders.py")
        with program.process:
            text = gdb(program, commands)
            program.process.kill()
        if "HIT" in text:
            break
    assert re.search(
        rf"^HIT \S*/orders\.py leaf {line_of('def leaf(number):')} of 3$", text, re.MULTILINE
    ), text
    for group in lacking(python):
        for note in Elf(objects(python)[group]).notes():
            assert re.search(rf"^stap +python +{note.name} .*/libpython-usdt-", text, re.MULTILINE)
    for name in python.probes:
        assert re.search(rf"^stap +pyusdt +{name} ", text, re.MULTILINE), text


# ---- SystemTap ----


def test_stap_lists(python):
    """stap -L: the marks and how many arguments they have.  It wants some kernel's headers."""
    missing("stap")
    headers = sorted(glob("/usr/src/linux-headers-*/include/generated/autoconf.h"))
    if not headers:
        pytest.skip("no kernel headers in /usr/src: scripts/setup.sh clients installs them")
    for lib in [*objects(python).values(), os.path.realpath(python.lib)]:
        done = subprocess.run(
            ["stap", "-r", headers[-1].split("/include/")[0], "-L", f'process("{lib}").mark("*")'],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = dict(re.findall(r'mark\("(\w+)"\)(.*)', done.stdout))
        expected = {note.name: len(note.arguments) for note in Elf(lib).notes()}
        assert {name: words.count("$arg") for name, words in found.items()} == expected, done.stderr
