"""Another process that has libpyusdt loaded: where it is, its symbols, its memory.

Only /proc/PID/maps and /proc/PID/mem are used, so it works for a process in a container
and for a library whose file was deleted or replaced. Whoever may ptrace the process may
read and write it, and nobody else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Library", "Process", "ProcessError", "processes"]

_LIBRARY = re.compile(r"(^|/)libpyusdt(\.[^/]*)?\.so( \(deleted\))?$")

# ELF64, from the System V gABI; the names are those of <elf.h>.
_HEADER = struct.Struct("<16s HHI QQQ I HHH HHH")
_SEGMENT = struct.Struct("<II QQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_SYMBOL = struct.Struct("<I BBH QQ")
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 4, 5, 6, 0x6FFFFEF5
_MOST = 1 << 20  # no table of ours is longer; memory of a stranger may say anything


class ProcessError(Exception):
    """Why a process cannot be looked into, and what to do: one line."""


@dataclass(frozen=True)
class Library:
    """A libpyusdt that a process has mapped."""

    path: str  # as /proc/PID/maps has it: of the process's own root, perhaps " (deleted)"
    base: int  # address of its ELF header
    device: str  # "major:minor" and
    inode: int  # number of its file


class Process:
    """A process by its pid. Use it in a `with`: it keeps the memory of the program that
    runs now open, which a later exec() or another process of that pid does not get.

    Every method raises ProcessError.
    """

    def __init__(self, pid: int, *, write: bool = False) -> None:
        self.pid = pid
        self._fd = -1
        with self._explained():
            if pid <= 0:
                raise ProcessLookupError
            self._fd = os.open(f"/proc/{pid}/mem", (os.O_RDWR if write else os.O_RDONLY))

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns an OSError into a ProcessError."""
        try:
            yield
        except (FileNotFoundError, ProcessLookupError):
            message = f"there is no process {self.pid}; has it ended?"
        except PermissionError:
            message = (
                f"process {self.pid} may not be read: be its user, or root (sudo); "
                "kernel.yama.ptrace_scope and a container's rules count, too"
            )
        except OSError as error:
            message = f"process {self.pid} cannot be read: {error.strerror}"
        else:
            return
        raise ProcessError(message) from None

    # ---- memory ----

    def read(self, address: int, size: int) -> bytes:
        """The bytes at an address, all of them."""
        with self._explained():
            found = bytearray()
            while len(found) < size:
                try:
                    piece = os.pread(self._fd, size - len(found), address + len(found))
                except (OverflowError, OSError) as error:
                    if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.EFAULT):
                        raise
                    raise self._unmapped(address) from None
                if not piece:  # its memory is gone
                    raise ProcessLookupError
                found += piece
        return bytes(found)

    def write(self, address: int, data: bytes) -> None:
        """Writes all bytes at an address. The process was opened with write=True."""
        with self._explained():
            try:
                written = os.pwrite(self._fd, data, address)
            except (OverflowError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.EFAULT):
                    raise
                raise self._unmapped(address) from None
            if written == 0 and data:
                raise ProcessLookupError
            if written != len(data):
                raise self._unmapped(address + written)

    def is_stopped(self) -> bool:
        """By a signal or a debugger."""
        with self._explained(), open(f"/proc/{self.pid}/stat", "rb") as file:
            # The state comes after the name, which may have any characters.
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")

    def _unmapped(self, address: int) -> ProcessError:
        if not os.path.exists(f"/proc/{self.pid}"):
            return ProcessError(f"there is no process {self.pid}; has it ended?")
        return ProcessError(f"process {self.pid} has no memory at {address:#x}")

    def _words(self, address: int, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.read(address, layout.size))

    def _u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    # ---- the library ----

    def libraries(self) -> list[Library]:
        """Every libpyusdt in the process, in the order of their addresses. One at most,
        unless the program imports two installations of it."""
        found = []
        line = b""
        with self._explained(), open(f"/proc/{self.pid}/maps", "rb") as maps:
            for line in maps:
                fields = line.decode("utf-8", "surrogateescape").rstrip("\n").split(None, 5)
                if len(fields) == 6 and int(fields[2], 16) == 0 and _LIBRARY.search(fields[5]):
                    base = int(fields[0].partition("-")[0], 16)
                    found.append(Library(fields[5], base, fields[3], int(fields[4])))
        if not line:
            raise ProcessError(f"process {self.pid} has ended, or is the kernel's own")
        return found

    def symbol(self, name: str) -> int:
        """The address of a data symbol of libpyusdt."""
        libraries = self.libraries()
        for library in libraries:
            address = self.symbol_in(library, name)
            if address is not None:
                return address
        if libraries:
            raise ProcessError(
                f"process {self.pid} has another pyusdt, without {name}: {libraries[0].path}; "
                "install this version for it"
            )
        raise ProcessError(
            f"process {self.pid} has not loaded pyusdt; start it by python -m pyusdt, "
            "or import pyusdt in it"
        )

    def symbol_in(self, library: Library, name: str) -> int | None:
        """The address of a data symbol in one of libraries(). None: it is not defined
        there, or what is mapped there is no library."""
        header = self.read(library.base, _HEADER.size)
        magic, *_, table, _, _, _, size, count, _, _, _ = _HEADER.unpack(header)
        if magic[:6] != b"\x7fELF\x02\x01" or size != _SEGMENT.size:
            return None
        bias = dynamic = None
        for i in range(count):
            kind, _, _, address, *_ = self._words(library.base + table + i * size, _SEGMENT)
            if kind == _PT_LOAD and bias is None:
                bias = library.base - (address & -4096)
            if kind == _PT_DYNAMIC:
                dynamic = address
        if bias is None or dynamic is None:
            return None
        found = self._dynamic(bias, bias + dynamic)
        if _DT_SYMTAB not in found or _DT_STRTAB not in found:
            return None
        encoded = name.encode() + b"\0"
        for index in self._candidates(found, name):
            symbol = self._words(found[_DT_SYMTAB] + index * _SYMBOL.size, _SYMBOL)
            string, _, _, section, value, _ = symbol
            if section and self.read(found[_DT_STRTAB] + string, len(encoded)) == encoded:
                return bias + value
        return None

    def _dynamic(self, bias: int, address: int) -> dict[int, int]:
        """The dynamic section's addresses. glibc has added the bias to them, musl not."""
        found: dict[int, int] = {}
        while len(found) < 256:
            tag, value = self._words(address, _DYNAMIC)
            if tag == 0:
                break
            found[tag] = value if value >= bias else value + bias
            address += _DYNAMIC.size
        return found

    def _candidates(self, dynamic: dict[int, int], name: str) -> Iterator[int]:
        """Indices of symbols that have the name's hash."""
        if _DT_GNU_HASH in dynamic:
            return self._in_gnu_hash(dynamic[_DT_GNU_HASH], name)
        if _DT_HASH in dynamic:
            return self._in_hash(dynamic[_DT_HASH], name)
        return iter(())

    def _in_gnu_hash(self, table: int, name: str) -> Iterator[int]:
        buckets, first, bloom, _ = self._words(table, struct.Struct("<4I"))
        wanted = 5381
        for byte in name.encode():
            wanted = (wanted * 33 + byte) & 0xFFFFFFFF
        heads = table + 16 + 8 * bloom
        chain = heads + 4 * buckets
        index = self._u32(heads + 4 * (wanted % buckets)) if buckets else 0
        while first <= index < _MOST:
            value = self._u32(chain + 4 * (index - first))
            if value | 1 == wanted | 1:
                yield index
            if value & 1:
                return
            index += 1

    def _in_hash(self, table: int, name: str) -> Iterator[int]:
        buckets, count = self._words(table, struct.Struct("<2I"))
        wanted = 0
        for byte in name.encode():
            wanted = (wanted << 4) + byte
            wanted = (wanted ^ (wanted >> 24 & 0xF0)) & 0x0FFFFFFF
        index = self._u32(table + 8 + 4 * (wanted % buckets)) if buckets else 0
        for _ in range(min(count, _MOST)):
            if index == 0:
                return
            yield index
            index = self._u32(table + 8 + 4 * (buckets + index))


def processes() -> list[tuple[int, Library]]:
    """(pid, library) of every process that has libpyusdt loaded and that we may look into,
    by pid; two of a process that has two."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(ProcessError), Process(int(name)) as process:
                found += [(int(name), library) for library in process.libraries()]
    return sorted(found, key=lambda item: (item[0], item[1].base))
