"""What the tests of the pyusdt command share."""

import contextlib
import importlib
import json
import signal
import subprocess
import time
from pathlib import Path

from conftest import Interpreter, without_library

# Prints a line; for each line of input it calls once() so many times.
SERVER = """\
import sys
def once(): pass
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)): once()
    print("done", flush=True)
"""


def module(name: str):
    """pyusdt.cli.NAME, without importing pyusdt: pytest itself must not be traced."""
    without_library()
    return importlib.import_module(f"pyusdt.cli.{name}")


def run(python: Interpreter, *words: str, **options) -> subprocess.CompletedProcess:
    """`pyusdt WORDS`, to its end."""
    return python.run("-m", "pyusdt.cli", *words, **options)


def start(python: Interpreter, *words: str, **options) -> subprocess.Popen:
    options.setdefault("env", python.env())
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([python.path, "-m", "pyusdt.cli", *words], text=True, **options)


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.split("\n") if line]


# What `-f json` prints: the fields that each kind of line has for certain.
SCHEMA = {
    "start": {"tool": str, "pid": int | None},
    "event": {},
    "row": {"table": str},
    "histogram": {"table": str, "buckets": list},
    "summary": {
        "tool": str, "pid": int | None, "seconds": float | int, "lost_events": int,
        "full_maps": list, "kernel_errors": int, "bpftrace": str,
    },
}  # fmt: skip


def checked(text: str) -> list[dict]:
    """The lines of a tool's json output; an error if any is not as it should be."""
    found = objects(text)
    for one in found:
        for name, kind in SCHEMA[one["type"]].items():
            assert isinstance(one[name], kind), one
        for bucket in one.get("buckets", []):
            assert set(bucket) <= {"min", "max", "count"}
    assert [one["type"] for one in found].count("summary") == 1
    assert found[-1]["type"] == "summary"
    assert found[-1]["lost_events"] == 0
    return found


def rows(text: str, table: str) -> dict[str, dict]:
    """Function: row, of a table in json output."""
    found = [o for o in checked(text) if o["type"] == "row" and o["table"] == table]
    return {row["function"]: row for row in found}


@contextlib.contextmanager
def program(python: Interpreter, path: Path, source: str, *before: str):
    """A program under pyusdt that has printed its first line; stdin and stdout are pipes."""
    path.write_text(source)
    process = subprocess.Popen(
        [*before, python.path, "-m", "pyusdt", str(path)],
        env=python.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in process.stdin, process.stdout:
            pipe.close()


def until(condition, seconds: float = 60, what: str = ""):
    """The condition's value, once it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what or "it never came true"
        time.sleep(0.01)
    return value


def wait_for_start(command: subprocess.Popen) -> None:
    """Until the command, with -f json, says that every probe is in place and counts."""
    line = command.stdout.readline()
    assert line and json.loads(line)["type"] == "start", line + command.stderr.read()


def interrupt(process: subprocess.Popen) -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)


def listed(python, pid) -> dict:
    """The line of `pyusdt ps` about a process."""
    found = objects(run(python, "ps", "-f", "json").stdout)
    return next((one for one in found if one["pid"] == pid), {})


def is_traced(python, pid):
    return bool(listed(python, pid).get("traced"))


def closed_directories(*paths: str) -> dict[Path, set[Path]]:
    """Directories on the way to the paths that others may not enter, and what is wanted there."""
    found: dict[Path, set[Path]] = {}
    for path in paths:
        parts = Path(path).parts
        for i in range(1, len(parts)):
            directory = Path(*parts[:i])
            if not directory.stat().st_mode & 1:
                found.setdefault(directory, set()).add(Path(*parts[: i + 1]))
                break
    return found


def opened(*paths: str) -> list[str]:
    """A command in front, below which everybody may reach the paths."""
    script = ""
    for directory, wanted in closed_directories(*paths).items():
        script += "keep=$(mktemp -d)\n"
        for one in wanted:
            script += f"mkdir $keep/{one.name}; mount --rbind {one} $keep/{one.name}\n"
        script += f"mount -t tmpfs -o mode=755 tmpfs {directory}\n"
        for one in wanted:
            script += f"mkdir {one}; mount --move $keep/{one.name} {one}\n"
    return ["unshare", "-m", "--propagation", "private", "sh", "-euc", script + 'exec "$@"', "sh"]
