"""The kernel's own tracer, perf_event_open(2): attaches to a probe within a millisecond.

    with Uprobe(lib, "PY_START") as probe: ...; probe.count()

It does what `perf stat -e sdt_pyusdt:PY_START` does, semaphore included, and counts
in the kernel.  Needs root.  The layout of struct perf_event_attr is that of
linux/perf_event.h, PERF_ATTR_SIZE_VER1.
"""

import ctypes
import mmap
import os
import platform
import struct
from pathlib import Path

from notes import Elf

SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]
DEVICE = Path("/sys/bus/event_source/devices/uprobe")
SIZE = 72  # PERF_ATTR_SIZE_VER1


class Semaphores:
    """The semaphores of a library as system-wide tracers raise them in this process.

    The kernel does so in every process that maps the code and, to be written, the data;
    nothing of the library is run.
    """

    def __init__(self, lib: str):
        elf = Elf(lib)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        page = os.sysconf("SC_PAGESIZE")
        notes = elf.notes()
        self.at = {}
        with open(lib, "rb") as file:
            for kind, flags, offset, address, size in elf.segments:
                if kind != 1 or not flags & 3:  # neither code nor data to be written
                    continue
                start = offset // page * page
                access = mmap.PROT_READ | (mmap.PROT_EXEC if flags & 1 else mmap.PROT_WRITE)
                length = offset - start + size
                base = libc.mmap(None, length, access, mmap.MAP_PRIVATE, file.fileno(), start)
                assert base not in (None, 2**64 - 1), os.strerror(ctypes.get_errno())
                for note in notes:
                    if flags & 2 and address <= note.semaphore < address + size:
                        where = base + offset - start + note.semaphore - address
                        self.at[note.name] = ctypes.c_uint16.from_address(where)

    def value(self, name: str) -> int:
        return self.at[name].value


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
