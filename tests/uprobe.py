"""The kernel's own tracer, perf_event_open(2): attaches to a probe within a millisecond.

    with Uprobe(lib, "PY_START") as probe: ...; probe.count()

It does what `perf stat -e sdt_pyusdt:PY_START` does, semaphore included, and counts
in the kernel.  Needs root.  The layout of struct perf_event_attr is that of
linux/perf_event.h, PERF_ATTR_SIZE_VER1.
"""

import ctypes
import os
import platform
import struct
from pathlib import Path

from notes import Elf

SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]
DEVICE = Path("/sys/bus/event_source/devices/uprobe")
SIZE = 72  # PERF_ATTR_SIZE_VER1


class Uprobe:
    """One probe of a library, attached system-wide, or to one process."""

    def __init__(self, lib: str, name: str, pid: int = -1):
        elf = Elf(lib)
        (note,) = (note for note in elf.notes() if note.name == name)
        self.pid = pid
        self.path = ctypes.create_string_buffer(os.fsencode(lib))
        semaphore = elf.offset(note.semaphore)
        kind = int((DEVICE / "type").read_text())
        self.attr = struct.pack(
            "<IIQQQQQIIQQ",
            kind,
            SIZE,
            semaphore << 32,  # config: ref_ctr_offset in the upper half
            0,
            0,
            0,
            0,
            0,
            0,
            ctypes.addressof(self.path),  # config1: the file
            elf.offset(note.location),  # config2: the offset in it
        )
        self.fds: list[int] = []

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        for cpu in range(os.cpu_count() or 1) if self.pid == -1 else [-1]:
            fd = libc.syscall(SYS_PERF_EVENT_OPEN, self.attr, self.pid, cpu, -1, 8)
            if fd < 0:
                self.__exit__()
                raise OSError(ctypes.get_errno(), "perf_event_open")
            self.fds.append(fd)
        return self

    def __exit__(self, *exc):
        while self.fds:
            os.close(self.fds.pop())

    def count(self) -> int:
        """How often it was hit."""
        return sum(struct.unpack("<Q", os.read(fd, 8))[0] for fd in self.fds)
