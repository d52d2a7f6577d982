"""Reads what `bpftrace -f json` prints, with the slips that its versions have.

Every byte that is not ASCII comes as U+FFFF and "ffXX", XX its value in hex; versions
before 0.27 (0.23 was measured) escape the keys of maps twice; the parts of a key are
joined by "," and a comma inside a part is not escaped.  0.27 writes the numbers of lost events
in hex, without a sign of it, once it has escaped a character; their total is on stderr.
Integers that a double cannot hold are texts there.

Pure: one line of text in, one event out.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .script import Version

ESCAPES_TWICE = ((0, 18), (0, 27))  # from, up to but not including
Key = tuple[int | str, ...]


@dataclass(frozen=True)
class Printed:
    """Text of one printf(), with its newline."""

    text: str


@dataclass(frozen=True)
class Map:
    """A map that was printed.

    kind: map, hist or stats, as bpftrace says it.
    values: the value of each key; of the key () when the map has none.  A value is a
    number, a text, a list of buckets (hist) or a dict of numbers (stats).
    """

    name: str
    kind: str
    values: dict[Key, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost:
    """The kernel had no room for so many events."""

    count: int


@dataclass(frozen=True)
class Attached:
    """Probes are attached (from 0.27 on) or will be at once (before)."""

    count: int


@dataclass(frozen=True)
class Trouble:
    """A helper in the kernel failed, as a full map makes it."""

    text: str


Event = Printed | Map | Lost | Attached | Trouble
_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u")
_COUNT = re.compile(r'"count": ([0-9a-f]+)(?=\})')
_LOST = re.compile(r'\{"type": "lost_events",.*"events": ([0-9a-f]+)\}')
_BYTES = re.compile("(?:\uffffff[0-9a-f]{2})+")


def text_of(raw: str) -> str:
    """The text that bpftrace meant."""

    def repair(found: re.Match[str]) -> str:
        return bytes.fromhex(found[0].replace("\uffffff", "")).decode("utf-8", "replace")

    return _BYTES.sub(repair, raw)


def bytes_of(words: Iterable[int]) -> bytes:
    """Memory that a script has read as uint64, which bpftrace may print as signed."""
    return b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in words)


def is_hex_after(line: str, is_hex: bool, version: Version) -> bool:
    """Whether counts are hexadecimal behind this line of output.

    bpftrace 0.27 writes the counts of histograms and of lost events so, from the first
    character on that it had to escape by its number.
    """
    return is_hex or (version >= (0, 27) and _ESCAPE.search(line) is not None)


def _with_decimal_counts(line: str, is_hex: bool) -> str:
    """A histogram's line; the escape may stand in the line itself."""
    escape = _ESCAPE.search(line)
    at = 0 if is_hex else escape.end() if escape else len(line)
    return line[:at] + _COUNT.sub(lambda found: f'"count": {int(found[1], 16)}', line[at:])


def event_of(line: str, version: Version, is_hex: bool = False) -> Event | None:
    """None for a line that says nothing (blank, or of a kind that nobody needs).

    is_hex: is_hex_after() the lines before.
    """
    if found := _LOST.match(line):
        return Lost(int(found[1], 16 if is_hex else 10))
    if version >= (0, 27) and line.startswith('{"type": "hist"'):
        line = _with_decimal_counts(line, is_hex)
    try:
        said = json.loads(line, strict=False)
        kind, data = said["type"], said.get("data")
    except (ValueError, TypeError, KeyError):
        return Trouble(line.strip()) if line.strip() else None
    make = _EVENTS.get(kind)
    if make is not None:
        return make(data)
    if kind in ("map", "hist", "stats"):
        ((name, values),) = data.items()
        return Map(name, kind, _values(values, kind, version))
    return Trouble(text_of(str(said.get("msg", said)))) if kind == "helper_error" else None


def _printed(data: Any) -> Printed:
    return Printed(text_of(str(data)))


_EVENTS: dict[str, Callable[[Any], Event]] = {
    "printf": _printed,
    "time": _printed,
    "cat": _printed,
    "join": _printed,
    "syscall": _printed,
    "value": lambda data: Printed(text_of(json.dumps(data)) + "\n"),
    "attached_probes": lambda data: Attached(int(data.get("probes", 0))),
}


def _values(values: Any, kind: str, version: Version) -> dict[Key, Any]:
    is_keyed = isinstance(values, dict)
    if kind == "stats" and is_keyed and set(values) == {"count", "average", "total"}:
        is_keyed = not all(isinstance(v, int) for v in values.values())
    if not is_keyed:
        return {(): _value(values)}
    return {key_of(key, version): _value(value) for key, value in values.items()}


def _value(value: Any) -> Any:
    if isinstance(value, list):  # a tuple, or the buckets of a histogram
        return [_value(part) for part in value]
    if isinstance(value, str):
        return int(value) if _is_large(value) else text_of(value)
    return value


def _is_large(text: str) -> bool:
    """Whether it is a number that 0.27 writes as a text, because a double cannot hold it."""
    return (
        16 <= len(text) <= 20
        and re.fullmatch(r"-?[1-9]\d+", text, re.ASCII) is not None
        and float(text) != int(text)
    )


def key_of(raw: str, version: Version) -> Key:
    """The parts of a key.  One text if any part is not a number: a text may hold commas."""
    if ESCAPES_TWICE[0] <= version < ESCAPES_TWICE[1] and "\\" in raw:
        with contextlib.suppress(ValueError):
            raw = json.loads(f'"{raw}"', strict=False)
    parts = raw.split(",")
    if all(re.fullmatch(r"\s*-?\d+\s*", part) for part in parts):
        return tuple(int(part) for part in parts)
    head: list[int | str] = []
    # Numbers in front can be told apart: (code address, text).
    while len(parts) > 1 and re.fullmatch(r"\s*-?\d+\s*", parts[0]):
        head.append(int(parts.pop(0)))
    return (*head, text_of(",".join(parts)))
