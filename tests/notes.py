"""Reads the stapsdt notes of an ELF file: the tests' own reader, standard library alone.

Also raises and lowers a semaphore of the process it runs in, which is all that
a tracer does to a program's memory:

    import notes; notes.raise_semaphore("PY_START"); notes.lower_semaphore("PY_START")
"""

import ctypes
import os
import struct
from typing import NamedTuple


class Note(NamedTuple):
    """One probe site.  Addresses are the file's own (virtual)."""

    provider: str
    name: str
    arguments: list[str]
    location: int
    base: int
    semaphore: int


class Elf:
    """A 64-bit little-endian ELF file: sections and loaded segments."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            self.data = file.read()
        assert self.data[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
        phoff, shoff = struct.unpack_from("<QQ", self.data, 32)
        phentsize, phnum, shentsize, shnum, shstrndx = struct.unpack_from("<HHHHH", self.data, 54)
        self.machine = struct.unpack_from("<H", self.data, 18)[0]
        headers = [
            struct.unpack_from("<IIQQQQ", self.data, shoff + i * shentsize) for i in range(shnum)
        ]
        names = headers[shstrndx][4]
        # name -> (address, offset in the file, size)
        self.sections = {self._string(names + h[0]): (h[3], h[4], h[5]) for h in headers}
        # (type, flags, offset, address, size) of each segment with contents in the file
        self.segments = []
        for i in range(phnum):
            kind, flags, offset, address, _, size, _ = struct.unpack_from(
                "<IIQQQQQ", self.data, phoff + i * phentsize
            )
            if size > 0:
                self.segments.append((kind, flags, offset, address, size))

    def _string(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def offset(self, address: int) -> int:
        """Where in the file the contents of an address lie."""
        for kind, _, offset, start, size in self.segments:
            if kind == 1 and start <= address < start + size:
                return offset + address - start
        raise ValueError(f"address {address:#x} is in no segment")

    def bytes_at(self, address: int, count: int) -> bytes:
        """Contents of memory as loaded, before relocation."""
        at = self.offset(address)
        return self.data[at : at + count]

    def notes(self) -> list[Note]:
        _, at, size = self.sections.get(".note.stapsdt", (0, 0, 0))
        end = at + size
        found = []
        while at < end:
            name_size, desc_size, kind = struct.unpack_from("<III", self.data, at)
            assert (name_size, kind) == (8, 3)
            assert self.data[at + 12 : at + 20] == b"stapsdt\0"
            desc = self.data[at + 20 : at + 20 + desc_size]
            location, base, semaphore = struct.unpack_from("<QQQ", desc)
            provider, name, arguments, rest = desc[24:].split(b"\0", 3)
            assert rest == b""
            words = arguments.decode().split()
            found.append(Note(provider.decode(), name.decode(), words, location, base, semaphore))
            at += 20 + (desc_size + 3 & ~3)
        return found


def _semaphore(name: str) -> ctypes.c_uint16:
    import pyusdt

    path = os.path.realpath(pyusdt.lib)
    note = next(n for n in Elf(path).notes() if n.name == name)
    # A handle of dlopen() is a struct link_map, which begins with the address of loading.
    handle = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)._handle
    base = ctypes.c_size_t.from_address(handle).value
    return ctypes.c_uint16.from_address(base + note.semaphore)


def raise_semaphore(name: str) -> None:
    _semaphore(name).value += 1


def lower_semaphore(name: str) -> None:
    _semaphore(name).value -= 1
