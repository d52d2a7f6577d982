"""Starts bpftrace, reads what it says, and stops it.

A Tracer runs in a session of its own: a Ctrl-C in the terminal reaches the command
and the program, and the command stops the tracer itself.  Two threads read its output
and put events into a queue; everything else happens in the caller's thread.
"""

import functools
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from .decode import Attached, Event, Lost, Printed, Trouble, event_of, is_hex_after
from .errors import Failure
from .script import Version, text_size

INSTALL = "install bpftrace 0.17 or newer: sudo apt install bpftrace, or sudo dnf install bpftrace"
OLDEST = (0, 17)
MAP_KEYS = 65536
# bpftrace 0.17 now and then ignores a SIGINT; a second one always worked.
SILENCE_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
# Harmless, or said otherwise by the command.
_NOISE = re.compile(
    r"RLIMIT_MEMLOCK|^Attach(ing|ed) \d+ probe|^\s*$"
    r"|Could not read functions from|DEPRECATED|WARNING: .*(BPFTRACE_|deprecated)"
)
_LOST = re.compile(r"Lost (\d+) events")


def path() -> str:
    found = shutil.which("bpftrace")
    if found is None:
        raise Failure(f"there is no bpftrace; {INSTALL}")
    return found


@functools.cache
def version() -> Version:
    """Of the bpftrace on PATH."""
    done = subprocess.run(
        [path(), "--version"],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # no Ctrl-C for it
    )
    found = re.search(r"v?(\d+)\.(\d+)", done.stdout + done.stderr)
    if done.returncode != 0 or found is None:
        raise Failure(f"`bpftrace --version` failed: {done.stderr.strip() or done.stdout.strip()}")
    have = int(found[1]), int(found[2])
    if have < OLDEST:
        raise Failure(f"bpftrace {have[0]}.{have[1]} is too old; {INSTALL}")
    return have


def environment(have: Version) -> dict[str, str]:
    """For bpftrace: longer texts, larger maps and buffers, unless the user has set them."""
    pages = 4096  # 16 MB a CPU; less where there are many
    while pages > 64 and pages * (os.cpu_count() or 1) > 65536:
        pages //= 2
    old = have < (0, 20)
    wanted = {
        "BPFTRACE_PERF_RB_PAGES": pages,
        "BPFTRACE_STRLEN" if old else "BPFTRACE_MAX_STRLEN": text_size(have),
        "BPFTRACE_MAP_KEYS_MAX" if old else "BPFTRACE_MAX_MAP_KEYS": MAP_KEYS,
    }
    return {**{name: str(value) for name, value in wanted.items()}, **os.environ}


def map_keys(have: Version) -> int:
    """How many keys a map may have."""
    name = "BPFTRACE_MAP_KEYS_MAX" if have < (0, 20) else "BPFTRACE_MAX_MAP_KEYS"
    value = environment(have)[name]
    return int(value) if value.isdigit() else MAP_KEYS


class Tracer:
    """One run of bpftrace.

    json: its output is read as events; otherwise each line is a Printed.
    events: what it said, in order; None when it has ended and all is said.
    errors: its lines on stderr that mean something.
    lost: events that were lost in all, if it says so at its end (0.27 does).
    """

    def __init__(self, script: str, pid: int | None, json: bool = True):
        self.version = version()
        self.json = json
        # No SimpleQueue: a signal at the end of its timeout makes get() wait for ever.
        self.events: queue.Queue[Event | None] = queue.Queue()
        self.errors: list[str] = []
        self.lost: int | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="pyusdt-")
        file = Path(self._directory.name) / "script.bt"
        file.write_text(script)
        command = [path(), "-B", "line"]
        command += ["-f", "json"] if json else []
        command += ["-p", str(pid)] if pid is not None else []
        self.process = subprocess.Popen(
            [*command, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self.version),
            start_new_session=True,
        )
        readers = [
            threading.Thread(target=self._read_output, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._finish, args=(readers,), daemon=True).start()

    def _read_output(self, pipe: IO[bytes]) -> None:
        is_hex = False
        for raw in pipe:
            line = raw.decode("utf-8", "replace")
            if self.json:
                event = event_of(line, self.version, is_hex)
                is_hex = is_hex_after(line, is_hex, self.version)
            elif found := _LOST.fullmatch(line.strip()):
                event = Lost(int(found[1]))
            elif re.match(r"Attaching \d+ probes?\.\.\.$", line):
                event = Attached(0)
            else:
                event = Printed(line)
            if isinstance(event, Trouble) and not event.text.startswith("{"):
                self._error(event.text)
            elif event is not None:
                self.events.put(event)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        for raw in pipe:
            self._error(raw.decode("utf-8", "replace").rstrip("\n"))

    def _error(self, line: str) -> None:
        # In json its losses are on stdout as well.
        if found := re.match(r"WARNING: Total lost event count: (\d+)", line):
            self.lost = int(found[1])
        elif (found := _LOST.match(line)) and not self.json:
            self.events.put(Lost(int(found[1])))
        elif re.match(r"Attached \d+ probes?$", line):
            self.events.put(Attached(0))
        elif not _NOISE.search(line) and not _LOST.match(line):
            self.errors.append(line)

    def _finish(self, readers: list[threading.Thread]) -> None:
        for reader in readers:
            reader.join()
        self.process.wait()
        self._directory.cleanup()
        self.events.put(None)

    def complaints(self) -> list[str]:
        """Its lines on stderr, from the first error on if there is one: warnings go before."""
        lines = [line for line in self.errors if line.strip()]
        first = next((i for i, line in enumerate(lines) if "ERROR" in line), 0)
        return lines[first:]

    def interrupt(self) -> None:
        """Asks it to print its maps and to end; to be called again until it has.

        While it prints them, a SIGINT would kill it.
        """
        if self.process.poll() is None and self._catches_signals():
            self.process.send_signal(signal.SIGINT)

    def _catches_signals(self) -> bool:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return False
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
        return found is None or bool(int(found[1], 16) >> (signal.SIGINT - 1) & 1)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Stopper:
    """Interrupts a tracer, and again if that was ignored.

    A SIGINT while bpftrace still reads the kernel's buffers makes it drop what is left in
    them.  So it gets the next one only when it has said nothing for a while, or when it
    goes on and on.  One that ends by itself, as it does with the process that its -p names,
    gets none if it does.
    """

    def __init__(self, tracer: Tracer, ends_itself: bool):
        self.tracer = tracer
        self.last = time.monotonic() if ends_itself else None

    def poke(self, heard: float) -> None:
        """heard: when it last said something, by time.monotonic()."""
        now = time.monotonic()
        if self.last is not None:
            is_silent = now - max(heard, self.last) >= SILENCE_SECONDS
            if not is_silent and now - self.last < PATIENCE_SECONDS:
                return
        self.last = now
        self.tracer.interrupt()
