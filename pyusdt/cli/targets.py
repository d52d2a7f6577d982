"""Finds the processes that have pyusdt's library loaded, also in containers.

All by /proc as the caller sees it: PIDs are those of the caller's PID namespace, and
files of a process are reached through /proc/PID/root.
"""

import contextlib
import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pyusdt.process import Process

from . import elf
from .errors import Failure

_LIBRARY = re.compile(r"libpyusdt(\.[\w.-]+)?\.so$")
_TAG = re.compile(r"cpython-3(\d+)(t?)")
_PYTHON = re.compile(r"python[\d.]*$")


@dataclass(frozen=True)
class Target:
    """A process with the library loaded.

    library: its path as the process sees it; base: where its first byte is mapped.
    """

    pid: int
    library: str
    base: int

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self.pid}")

    @cached_property
    def is_elsewhere(self) -> bool:
        """Whether its paths are not the caller's: a container or a chroot."""
        try:
            mine, its = os.stat("/"), os.stat(self._proc / "root/.")
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) != (its.st_dev, its.st_ino)

    @cached_property
    def is_chrooted(self) -> bool:
        """Whether its root is a directory inside its mount namespace.

        bpftrace before 0.27 does not find the library there by its own -p.
        """
        try:
            return os.readlink(self._proc / "root") != "/"
        except OSError:
            return False

    @property
    def library_outside(self) -> str:
        """The path by which the caller reaches the library's file."""
        return f"/proc/{self.pid}/root{self.library}" if self.is_elsewhere else self.library

    @property
    def namespaces(self) -> list[str]:
        """Which of its namespaces are not the caller's: mnt, pid, user; and chroot."""
        found = []
        for name in ("mnt", "pid", "user"):
            try:
                if os.readlink(self._proc / "ns" / name) != os.readlink(f"/proc/self/ns/{name}"):
                    found.append(name)
            except OSError:
                pass
        return found + (["chroot"] if self.is_chrooted else [])

    @property
    def python(self) -> str:
        """Version of its Python, by the library's name: 3.13, or 3.14t if free-threaded."""
        found = _TAG.search(os.path.basename(self.library))
        return f"3.{found[1]}{found[2]}" if found else "?"

    @property
    def user(self) -> str:
        """Who runs it: the name, or the number if it has none."""
        try:
            uid = self._proc.stat().st_uid
        except OSError:
            return "?"
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    @property
    def words(self) -> list[str]:
        """Its command line."""
        try:
            data = (self._proc / "cmdline").read_bytes()
        except OSError:
            return []
        return os.fsdecode(data).rstrip("\0").split("\0")

    @property
    def names(self) -> set[str]:
        """What it may be called by: its comm, its executable, its script or module."""
        words = self.words
        found = set()
        with contextlib.suppress(OSError):
            found.add((self._proc / "comm").read_text().rstrip("\n"))
        if words:
            found.add(os.path.basename(words[0]))
        for i, word in enumerate(words[1:], 1):
            if word == "-m" and i + 1 < len(words) and words[i + 1] != "pyusdt":
                return found | {words[i + 1]}
            if not word.startswith("-") and word != "pyusdt" and words[i - 1] not in ("-X", "-W"):
                name = os.path.basename(word)
                return found | {name, name.removesuffix(".py")}
        return found

    @cached_property
    def probes(self) -> list[elf.Probe]:
        """Of its library's file."""
        try:
            return elf.probes(self.library_outside)
        except OSError as error:
            raise Failure(
                f"cannot read {self.library} of process {self.pid}: {error.strerror}"
            ) from error
        except ValueError as error:
            raise Failure(f"{self.library} of process {self.pid}: {error}") from error

    def raised(self) -> set[str]:
        """Names of the probes that a tracer is attached to.  ProcessError if it may not be read."""
        found = set()
        with Process(self.pid) as memory:
            for probe in self.probes:
                at = self.base + probe.semaphore
                if probe.semaphore and memory.read(at, 2) != b"\0\0":
                    found.add(f"{probe.provider}:{probe.name}")
        return found


def process(pid: int) -> Target | None:
    """None if the process has not loaded the library.  OSError if it may not be read."""
    with open(f"/proc/{pid}/maps", "rb") as maps:
        for line in maps:
            words = os.fsdecode(line.rstrip(b"\n")).split(None, 5)
            if len(words) != 6 or int(words[2], 16) != 0:
                continue
            if _LIBRARY.search(words[5].removesuffix(" (deleted)")):
                # The kernel writes a newline as \012.
                path = words[5].replace("\\012", "\n")
                return Target(pid, _inside(pid, path), int(words[0].split("-")[0], 16))
    return None


def _inside(pid: int, path: str) -> str:
    """The path as the process sees it: maps has that from the root of its namespace."""
    try:
        root = os.readlink(f"/proc/{pid}/root")
    except OSError:
        return path
    return path.removeprefix(root) if root != "/" and path.startswith(root + "/") else path


# Of the first PID namespace: PROC_PID_INIT_INO of the kernel's linux/proc_ns.h.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC


def is_nested() -> bool:
    """Whether PIDs here are not those that the kernel's events have: in a container."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE
    except OSError:
        return False


def pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def processes() -> tuple[list[Target], int]:
    """All processes with the library but the caller, and how many could not be read."""
    found, unread = [], 0
    for pid in sorted(pids()):
        if pid == os.getpid():
            continue
        try:
            one = process(pid)
        except PermissionError:
            unread += 1
        except OSError:  # it has ended
            pass
        else:
            if one is not None:
                found.append(one)
    return found, unread


def by_pid(pid: int) -> Target:
    """Failure if there is no such process, or the library is not in it."""
    try:
        found = process(pid)
    except PermissionError as error:
        raise Failure(f"may not read process {pid}; use sudo") from error
    except OSError as error:
        raise Failure(f"there is no process {pid}") from error
    if found is None:
        raise Failure(
            f"process {pid} ({command_of(pid)}) has not loaded pyusdt; start it with "
            "`python -m pyusdt`, or import pyusdt in it"
        )
    if found.library.endswith(" (deleted)"):
        raise Failure(
            f"the library of process {pid}, {found.library}, was deleted or replaced after it "
            "was loaded, and no tracer can attach to it; restart the program"
        )
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except OSError:
        return "?"


def not_read(count: int) -> str:
    """Of processes; root has done what it can, as where a container hides one."""
    cure = "; use sudo" if os.geteuid() != 0 else ""
    return f"{count} process{'es' if count > 1 else ''} could not be read{cure}"


def by_name(name: str) -> Target:
    """Failure if none or several have this name."""
    every, unread = processes()
    found = [one for one in every if name in one.names]
    if len(found) == 1:
        return by_pid(found[0].pid)
    if not found:
        more = f" ({not_read(unread)})" if unread else ""
        raise Failure(f"no process with pyusdt is called {name}{more}; `pyusdt ps` lists them")
    listed = "; ".join(f"{one.pid} {' '.join(one.words)[:60]}" for one in found)
    raise Failure(f"{len(found)} processes are called {name}; choose one by -p PID: {listed}")
