"""Starts real bpftrace against real processes and reads what it prints."""

import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from functools import cache

from uprobe import Semaphores

READY = "TRACER-READY"
# A text of a value fits into one string, and three strings fit the 512 bytes of
# stack that 0.17 has.
STRLEN = 100
VALUE_MAX = 96
QUIET = 0.3  # seconds


@cache
def version() -> tuple[int, int, int]:
    """Of the bpftrace found on PATH."""
    text = subprocess.run(
        ["bpftrace", "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    assert found, text
    return tuple(map(int, found.groups()))


def why_not() -> str | None:
    """Why no tracer can run here; None when one can."""
    if shutil.which("bpftrace") is None:
        return "bpftrace is not installed"
    if os.geteuid() != 0:
        return "a tracer needs root: sudo make test"
    return None


@cache
def semaphores_of(lib: str) -> Semaphores:
    return Semaphores(lib)


class Bpftrace:
    """One run of bpftrace: `with Bpftrace(script) as trace: ...; trace.output`.

    On entry it is attached and counts; on exit it has been stopped by SIGINT
    and has printed its maps.
    """

    def __init__(
        self, script: str, *options: str, ready: bool = True, strlen: int | None = STRLEN, **popen
    ):
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.script = script
        self.options = options
        self.wait_for_ready = ready
        self.strlen = strlen
        self.popen = popen

    def _semaphores(self) -> list[tuple[str, str, int]]:
        """(library, probe, value) of each probe of ours that it attaches system-wide."""
        found = re.findall(r'usdt:"?([^":]+)"?:pyusdt:(\w+)', self.script)
        found = [] if "-p" in self.options or "-c" in self.options else sorted(set(found))
        found = [(lib, name) for lib, name in found if lib.startswith("/") and "/proc/" not in lib]
        return [(lib, name, semaphores_of(lib).value(name)) for lib, name in found]

    def _wait_for_semaphores(self, before: list[tuple[str, str, int]]) -> None:
        # BEGIN runs before the other probes are attached.
        end = time.monotonic() + 60
        while any(semaphores_of(lib).value(name) <= value for lib, name, value in before):
            if time.monotonic() > end or self.process.poll() is not None:
                self.stop()
                raise AssertionError(f"bpftrace did not attach:\n{self.script}\n{self.output}")
            time.sleep(0.002)

    def __enter__(self):
        before = self._semaphores() if self.wait_for_ready else []
        self.file = tempfile.NamedTemporaryFile("w", suffix=".bt")
        begin = f'BEGIN {{ printf("{READY}\\n"); }}\n' if self.wait_for_ready else ""
        self.file.write(begin + self.script)
        self.file.flush()
        name = "BPFTRACE_MAX_STRLEN" if version() >= (0, 20, 0) else "BPFTRACE_STRLEN"
        env = self.popen.pop("env", os.environ)
        env = {**env, "BPFTRACE_PERF_RB_PAGES": "4096"}
        if self.strlen is not None:  # else as a user has it
            env[name] = str(self.strlen)
        self.process = subprocess.Popen(
            ["bpftrace", "-B", "line", *self.options, self.file.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            **self.popen,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        if self.wait_for_ready:
            self.ready.wait(60)
            if self.process.poll() is not None or not self.ready.is_set():
                self.stop()
                raise AssertionError(f"bpftrace did not start:\n{self.script}\n{self.output}")
            self._wait_for_semaphores(before)
        return self

    def __exit__(self, *exc):
        self.stop()

    def _read(self):
        # Not every byte of a traced string need be UTF-8; a test will see it.
        for raw in self.process.stdout:
            line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            self.lines.append(line)
            if line == READY:
                self.ready.set()
        self.ready.set()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Until a line with this text has been printed."""
        end = time.monotonic() + seconds
        while text not in self.output:
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"bpftrace never printed {text!r}:\n{self.output}")
            time.sleep(0.01)

    def settle(self) -> None:
        """Until it has printed nothing for a while, 20 seconds at most: one that is told to
        end need not print what it has not yet read.  For scripts that print events."""
        seen, since = -1, time.monotonic()
        end = since + 20
        while self.process.poll() is None and time.monotonic() < min(end, since + QUIET):
            if len(self.lines) != seen:
                seen, since = len(self.lines), time.monotonic()
            time.sleep(0.02)

    def stop(self) -> None:
        if "printf" in self.script and "interval:" not in self.script:
            self.settle()
        # 0.17 now and then ignores a SIGINT.
        for _ in range(60):
            if self.process.poll() is not None:
                break
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                continue
        else:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"bpftrace had to be killed:\n{self.output}")
        self.reader.join()
        self.file.close()
        assert "Lost " not in self.output, "bpftrace lost events"

    def kill(self) -> None:
        """SIGKILL: it prints nothing and cleans up nothing."""
        self.process.kill()
        self.process.wait()

    def map(self, name: str = "@") -> int:
        """The value of a counting map; 0 when it was never set."""
        found = re.findall(rf"^{re.escape(name)}: (\d+)$", self.output, re.MULTILINE)
        return int(found[-1]) if found else 0


def count_fib(where: str) -> str:
    """A script that counts the calls of fib() by its PY_START."""
    return f'usdt:{where}:pyusdt:PY_START /str(arg0) == "fib"/ {{ @ = count(); }}'


# ---- events ----

FIELDS = {
    "tid": ("%d", "tid"),
    "nsecs": ("%llu", "nsecs"),
    "pid": ("%d", "pid"),
    "function": ("%s", "str(arg0)"),
    "file": ("%s", "str(arg1)"),
    "line": ("%d", "arg2"),
    "offset": ("%lld", "arg3"),
    "value": ("%s", "str(arg4)"),
    "qualname": ("%s", "str(arg5)"),
    "code": ("%llu", "arg6"),
    "frame": ("%llu", "arg7"),
}
# Before 0.27, bpftrace has no arg6 and arg7 on x86-64; they are in r8 and r9.
OLD_FIELDS = {
    "code": ("%llu", 'reg("r8")'),
    "frame": ("%llu", 'reg("r9")'),
}
NUMBERS = {"tid", "nsecs", "pid", "line", "offset", "code", "frame"}
MARK = "EVENT"


def events_script(lib: str, names: list[str], fields: list[str], under: str) -> str:
    """A script that prints these fields of these probes' events, one a line.

    Only of code whose file name begins with `under`: 0.17 prints some 10,000
    events a second, and an import alone can have more.
    """
    assert len(under) < 64, "too long for a literal of bpftrace"
    known = dict(FIELDS)
    if version() < (0, 27, 0) and platform.machine() == "x86_64":
        known.update(OLD_FIELDS)
    fields = ["pid", "tid", "nsecs", *fields]

    def clause(name: str) -> str:
        jump = name == "JUMP" or name.startswith("BRANCH")
        kinds = {**known, "value": ("%lld", "arg4")} if jump else known
        formats = "\\t".join(kinds[f][0] for f in fields)
        values = ", ".join(kinds[f][1] for f in fields)
        return (
            f'usdt:"{lib}":pyusdt:{name} /strncmp(str(arg1), "{under}", {len(under)}) == 0/'
            f' {{ printf("{MARK}\\t{name}\\t{formats}\\n", {values}); }}\n'
        )

    return "".join(map(clause, names))


def parse_events(output: str, fields: list[str], pid: int) -> list[dict]:
    """The events of one process, in the order of time."""
    names = ["event", "pid", "tid", "nsecs", *fields]
    events = []
    for line in output.split("\n"):
        mark, *words = line.split("\t")
        if mark == MARK:
            assert len(words) == len(names), line
            event = dict(zip(names, words, strict=True))
            event.update({k: int(v) for k, v in event.items() if k in NUMBERS})
            if event["pid"] == pid:
                events.append(event)
    events.sort(key=lambda e: e["nsecs"])
    return events
