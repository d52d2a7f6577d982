"""The probes of a library file, read from its ELF notes.

The format of the notes is described in src/usdt.h; that of ELF in elf(5).  64-bit
little-endian files alone: there are no others that pyusdt is built for.
"""

import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Probe:
    """One probe site.  Addresses are the file's own: add where the file is loaded."""

    provider: str
    name: str
    arguments: str  # as the assembler wrote them: "8@%rdi 8@%rsi ..."
    location: int
    semaphore: int  # 0: none


def _sections(data: bytes) -> dict[str, tuple[int, int]]:
    """Name: (offset, size)."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + i * size) for i in range(count)]
    table = headers[names][4]
    found = {}
    for name, _, _, _, at, length in headers:
        start = table + name
        found[data[start : data.index(b"\0", start)].decode()] = (at, length)
    return found


def probes(path: str | Path) -> list[Probe]:
    """The stapsdt notes of a file.  OSError, or ValueError if it is no such file."""
    data = Path(path).read_bytes()
    try:
        at, size = _sections(data).get(".note.stapsdt", (0, 0))
        end, found = at + size, []
        while at < end:
            name_size, size, _ = struct.unpack_from("<III", data, at)
            start = at + 12 + (name_size + 3 & ~3)
            location, _, semaphore = struct.unpack_from("<QQQ", data, start)
            words = data[start + 24 : start + size].split(b"\0")
            provider, name, arguments = (word.decode() for word in words[:3])
            found.append(Probe(provider, name, arguments, location, semaphore))
            at = start + (size + 3 & ~3)
    except (struct.error, IndexError) as error:
        raise ValueError("its ELF headers or notes are damaged") from error
    return found
