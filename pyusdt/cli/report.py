"""What a tool found, as text, JSON lines or CSV.

Maps that share their keys become one table.  The map @where says what function a key, or
the first part of one, stands for: its values are (function, file, line), and they take
the key's place.  So do a stack's functions, and a system call's name (see prelude.py and
kernel.py).  The kinds of output:

    text  the tool's own lines as they come; tables and histograms at the end
    json  one object a line: {"type": "start" | "event" | "row" | "histogram" | "summary",
          ...}; start comes when every probe is in place, the summary is the last line
    csv   a heading and rows; a blank line between tables
"""

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from . import kernel, prelude, script
from .decode import Key, Map
from .prelude import STACKS, TEXTS, TORN
from .script import FIELD, OURS, RESTS, WHERE

PLACE = ("function", "file", "line")


@dataclass
class Table:
    """name: of its first map.  Columns that are texts stand last in text output."""

    name: str
    columns: list[str]
    rows: list[list[Any]]


@dataclass
class Histogram:
    name: str
    key: dict[str, Any]
    buckets: list[dict[str, int]]


class Stack(list[dict[str, Any]]):
    """Places, the outermost function first.  As a text it is a line of a flame graph."""

    def __str__(self) -> str:
        return ";".join(place["function"] for place in self)


@dataclass
class Result:
    """Everything that a run has found so far."""

    maps: dict[str, Map] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)  # names of the parts of keys
    sort: str | None = None  # column by which tables are sorted that have it

    def add(self, one: Map) -> None:
        if not one.name.startswith(OURS) or one.name in (TEXTS, STACKS, TORN, RESTS):
            self.maps[one.name] = one

    def _values(self, name: str) -> dict[Key, Any]:
        return self.maps[name].values if name in self.maps else {}

    @property
    def torn(self) -> int:
        """Samples without a function, because 3.12 was about to change its frames."""
        value = self._values(TORN).get((), 0)
        return value if isinstance(value, int) else 0

    def _place(self, number: int | str) -> dict[str, Any] | None:
        """Columns of a function; None if the number stands for none."""
        place = self._values(WHERE).get((number,))
        if not isinstance(place, list):
            return None
        rests = self._values(RESTS).get((number,))
        if isinstance(rests, list):
            place = script.with_rests(place, rests)
        texts = self._values(TEXTS)
        if texts and isinstance(number, int):
            place = prelude.with_texts(number, place, texts)
        return dict(zip(PLACE, place, strict=False))

    def _stack(self, number: int | str) -> "Stack":
        frames = self._values(STACKS)
        unknown = {"function": "?", "file": None, "line": None}
        found = Stack()
        while (one := frames.get((number, len(found)))) is not None:
            found.append(self._place(one) or unknown)
        if (number, prelude.CUT) in frames:
            found.append({**unknown, "function": "..."})
        found.reverse()
        return found or Stack([dict(zip(PLACE, prelude.NO_FUNCTION, strict=True))])

    def _part(self, name: str, part: int | str) -> dict[str, Any]:
        """Columns of one part of a key."""
        place = self._place(part)
        if place is not None:
            return place
        if name == "function" and part == 0:
            return dict(zip(PLACE, prelude.NO_FUNCTION, strict=True))
        if name == "stack":
            return {name: self._stack(part)}
        if name == "file":
            return kernel.file(part, self._values(kernel.FILES).get((part,)))
        return {name: kernel.word(name, part)}

    def _key(self, one: Map, key: Key) -> dict[str, Any]:
        """Columns of a key."""
        names = self.keys.get(one.name, [])
        found: dict[str, Any] = {}
        for i, part in enumerate(key):
            unnamed = f"key{i + 1}" if len(key) > 1 else "key"
            new = self._part(names[i] if len(names) == len(key) else unnamed, part)
            again = next(n for n in range(1, len(key) + 2) if not _taken(found, new, n))
            found.update({_numbered(name, again): value for name, value in new.items()})
        return found

    def _shown(self) -> list[Map]:
        """In the order of the script."""
        order = list(self.keys)
        hidden = (WHERE, kernel.FILES)
        shown = [
            one
            for one in self.maps.values()
            if one.name not in hidden and not one.name.startswith(OURS) and one.values
        ]
        return sorted(shown, key=lambda m: order.index(m.name) if m.name in order else -1)

    def tables(self, top: int | None = None) -> list[Table]:
        """The maps of numbers and texts; each sorted by its first value, or by the column
        that was asked for, largest first."""
        groups: list[list[Map]] = []
        for one in self._shown():
            if one.kind in ("map", "stats"):
                sample = next(iter(one.values))
                # Maps with the same keys go together.
                group = next((g for g in groups if sample and sample in g[0].values), None)
                if group is None:
                    groups.append([one])
                else:
                    group.append(one)
        return [self._table(sorted(group, key=_is_text), top) for group in groups]

    def _table(self, group: list[Map], top: int | None) -> Table:
        keys = list(dict.fromkeys(key for one in group for key in one.values))
        rows = []
        columns: dict[str, None] = {}
        for key in keys:
            row: dict[str, Any] = {}
            for one in group:
                name = one.name.lstrip("@") or "value"
                value = one.values.get(key)
                if one.kind == "stats":
                    value = value or {"count": 0, "average": 0, "total": 0}
                    row.update({f"{name}_{part}": number for part, number in value.items()})
                else:
                    row[name] = value
            row.update(self._key(group[0], key))
            columns.update(dict.fromkeys(row))
            rows.append(row)
        first = next(iter(columns), "")  # a number, if there is one: texts stand behind
        by = self.sort if self.sort in columns else first
        rows.sort(key=lambda row: _order(row.get(by)), reverse=True)
        table = [[row.get(column) for column in columns] for row in rows]
        return Table(group[0].name.lstrip("@") or "value", list(columns), table[:top])

    def histograms(self, top: int | None = None) -> list[Histogram]:
        found = []
        for one in self._shown():
            if one.kind == "hist":
                every = [
                    Histogram(one.name.lstrip("@") or "value", self._key(one, key), value)
                    for key, value in one.values.items()
                ]
                every.sort(key=lambda h: -sum(bucket["count"] for bucket in h.buckets))
                found += every[:top]
        return found

    def full(self, limit: int) -> list[str]:
        """Maps that have as many keys as fit: further ones may have been dropped."""
        return [one.name for one in self.maps.values() if len(one.values) >= limit]


def _numbered(name: str, again: int) -> str:
    return name if again == 1 else f"{name}{again}"


def _taken(found: dict[str, Any], new: dict[str, Any], again: int) -> bool:
    return any(_numbered(name, again) in found for name in new)


def _is_text(one: Map) -> bool:
    return any(isinstance(value, str | list) for value in one.values.values())


def _order(value: Any) -> tuple[int, Any]:
    return (1, value) if isinstance(value, int | float) else (0, str(value))


# ---- text ----


def _place(columns: list[str], row: list[Any]) -> tuple[list[str], list[Any]]:
    """file and line as one column."""
    if "file" not in columns:
        return columns, row
    values = dict(zip(columns, row, strict=True))
    file, line = values.pop("file"), values.pop("line", None)
    values["file:line"] = file if line is None else f"{file}:{line}"
    return list(values), list(values.values())


def printable(value: Any) -> str:
    """One line, whatever is in the text."""
    if value is None:
        return "-"
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def cells(table: Table) -> tuple[list[str], list[list[str]], list[bool]]:
    """Heading, rows, and which columns are numbers."""
    placed = [_place(table.columns, row) for row in table.rows]
    columns = placed[0][0] if placed else table.columns
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for _, row in placed)
        for i in range(len(columns))
    ]
    rows = [[printable(value) for value in row] for _, row in placed]
    return [column.upper() for column in columns], rows, numeric


def table_text(table: Table) -> str:
    heading, rows, numeric = cells(table)
    every = [heading, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(heading))]
    lines = []
    for row in every:
        words = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(words).rstrip() + "\n")
    return "".join(lines)


BAR = 40


def histogram_text(one: Histogram) -> str:
    columns, row = _place(list(one.key), list(one.key.values()))
    del columns
    title = " ".join([one.name, *(printable(value) for value in row)])
    largest = max((bucket["count"] for bucket in one.buckets), default=0) or 1
    lines = [title + "\n"]
    labels = [_bucket(bucket) for bucket in one.buckets]
    width = max((len(label) for label in labels), default=0)
    for label, bucket in zip(labels, one.buckets, strict=True):
        bar = "@" * (bucket["count"] * BAR // largest)
        lines.append(f"    {label:<{width}} {bucket['count']:>10} |{bar:<{BAR}}|\n")
    return "".join(lines)


def _bucket(bucket: dict[str, int]) -> str:
    low, high = bucket.get("min"), bucket.get("max")
    if low is None:
        return f"< {high if high is None else high + 1}"
    if high is None:
        return f">= {low}"
    return f"{low}" if low == high else f"{low} -> {high}"


# ---- the three formats ----


class Writer:
    """Writes one run's results to a file; flushed line by line."""

    def __init__(self, out: IO[str], names: list[list[str]], top: int | None):
        self.out = out
        self.names = names  # of the values of each printf(), see script.structured()
        self.top = top
        self.is_closed = False

    def start(self, facts: dict[str, Any]) -> None:
        """Every probe is in place."""

    def printed(self, text: str) -> None:
        """What a printf() of the script gave."""

    def tables(self, result: Result, seconds: float | None = None) -> None:
        """The maps.  seconds: since the start, if this is one snapshot of several."""

    def summary(self, facts: dict[str, Any]) -> None:
        """The end."""

    def _fields(self, text: str) -> dict[str, str | int] | None:
        """The values of a printf() that script.structured() has rewritten."""
        if not text.startswith(FIELD):
            return None
        number, *values = text[1:].removesuffix("\n").split(FIELD)
        names = self.names[int(number)] if number.isdecimal() else []
        return {name: _number(value) for name, value in zip(names, values, strict=False)}

    def write(self, text: str) -> None:
        if self.is_closed:
            return
        try:
            self.out.write(text)
            self.out.flush()
        except BrokenPipeError:  # the reader has gone, as with | head
            self.is_closed = True
            if self.out is sys.stdout:  # so that nothing is left to be flushed at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _number(text: str) -> str | int:
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and digits.isascii() and len(digits) < 20 else text


class Text(Writer):
    def printed(self, text: str) -> None:
        self.write(text)

    def tables(self, result: Result, seconds: float | None = None) -> None:
        if seconds is not None:
            self.write(time.strftime("\n%H:%M:%S\n"))
        parts = [table_text(table) for table in result.tables(self.top)]
        parts += [histogram_text(one) for one in result.histograms(self.top)]
        self.write("\n".join(parts))


class Json(Writer):
    def _line(self, kind: str, values: dict[str, Any]) -> None:
        self.write(json.dumps({"type": kind, **values}, ensure_ascii=False) + "\n")

    def start(self, facts: dict[str, Any]) -> None:
        self._line("start", facts)

    def printed(self, text: str) -> None:
        fields = self._fields(text)
        if fields is not None:
            self._line("event", fields)

    def tables(self, result: Result, seconds: float | None = None) -> None:
        when = _when(seconds)
        for table in result.tables(self.top):
            for row in table.rows:
                values = dict(zip(table.columns, row, strict=True))
                self._line("row", {"table": table.name, **when, **values})
        for one in result.histograms(self.top):
            about = {"table": one.name, **when, **one.key}
            self._line("histogram", {**about, "buckets": one.buckets})

    def summary(self, facts: dict[str, Any]) -> None:
        self._line("summary", facts)


def _when(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"seconds": round(seconds, 3)}


def csv_line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


class Csv(Writer):
    def __init__(self, out: IO[str], names: list[list[str]], top: int | None):
        super().__init__(out, names, top)
        self.heading: list[str] | None = None

    def _row(self, values: dict[str, Any]) -> None:
        names = list(values)
        if names != self.heading:
            self.write("\n" * (self.heading is not None) + csv_line(names))
            self.heading = names
        self.write(csv_line(values.values()))

    def printed(self, text: str) -> None:
        fields = self._fields(text)
        if fields is not None:
            self._row(dict(fields))

    def tables(self, result: Result, seconds: float | None = None) -> None:
        when = _when(seconds)
        for table in result.tables(self.top):
            for row in table.rows:
                self._row({**when, **dict(zip(table.columns, row, strict=True))})
        for one in result.histograms(self.top):
            for bucket in one.buckets:
                ends = {"min": bucket.get("min"), "max": bucket.get("max")}
                self._row({**when, **one.key, **ends, one.name: bucket["count"]})


WRITERS: dict[str, Callable[[IO[str], list[list[str]], int | None], Writer]] = {
    "text": Text,
    "json": Json,
    "csv": Csv,
}
