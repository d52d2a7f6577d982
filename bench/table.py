"""The table: rows of measured values, their ratios to a reference row, and the targets."""

import statistics
from dataclasses import dataclass, field


class Refusal(Exception):
    """One line for people: why the benchmark cannot run."""


@dataclass
class Row:
    """One line of the table.  `note` alone, without values: why there are none."""

    name: str
    values: list[float] = field(default_factory=list)
    unit: str = "ns"
    reference: "Row | None" = None
    target: float | None = None  # the ratio's, or the median's where there is no reference
    note: str = ""

    @property
    def minimum(self) -> float:
        return min(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """Of the minima: what the machine does beside us only makes a run slower."""
        if not self.values or self.reference is None or not self.reference.values:
            return None
        return self.minimum / self.reference.minimum

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        if not self.values:
            return "not measured"
        value = self.median if self.reference is None else self.ratio
        # As precise as it is printed: 1.0004 is 1.000.
        return "met" if value is not None and round(value, 3) <= self.target else "MISSED"


@dataclass
class Section:
    title: str
    about: str
    rows: list[Row] = field(default_factory=list)


def number(value: float, unit: str) -> str:
    if unit in ("instructions", "of"):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


HEADER = ["what", "min", "median", "unit", "ratio", "to", "target", "verdict", "note"]


def cells(row: Row) -> list[str]:
    if not row.values:
        return [row.name, "", "", "", "", "", "", row.verdict, row.note]
    ratio = row.ratio
    target = ""
    if row.target is not None:
        target = (
            f"<= {row.target:.3g} {row.unit}" if row.reference is None else f"<= {row.target:.3f}"
        )
    return [
        row.name,
        number(row.minimum, row.unit),
        number(row.median, row.unit),
        row.unit,
        "" if ratio is None else f"{ratio:.3f}" if ratio < 10 else f"{ratio:.1f}",
        "" if ratio is None else row.reference.name,
        target,
        row.verdict,
        row.note,
    ]


def text(section: Section) -> str:
    """For a terminal: columns that nobody uses are left out."""
    lines = [HEADER, *map(cells, section.rows)]
    used = [i for i in range(len(HEADER)) if any(line[i] for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in used}
    right = (1, 2, 4)
    out = [f"{section.title}: {section.about}"]
    for line in lines:
        words = [line[i].rjust(widths[i]) if i in right else line[i].ljust(widths[i]) for i in used]
        out.append("  " + "  ".join(words).rstrip())
    return "\n".join(out) + "\n"


def markdown(section: Section) -> str:
    lines = [HEADER, *map(cells, section.rows)]
    used = [i for i in range(len(HEADER)) if any(line[i] for line in lines[1:])]
    out = [f"## {section.title}", "", section.about, ""]
    for number_, line in enumerate(lines):
        out.append("| " + " | ".join(line[i] for i in used) + " |")
        if number_ == 0:
            out.append("|" + "|".join("---:" if i in (1, 2, 4) else "---" for i in used) + "|")
    return "\n".join(out) + "\n"
