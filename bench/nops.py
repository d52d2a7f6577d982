"""The probe site: what the one-byte and the five-byte nop cost, and what they break."""

import platform
import subprocess
from pathlib import Path

import costs
import place
from table import Refusal, Row, Section
from tracer import Bpftrace

CALLS = 200_000


def wrong_results(program: Path) -> int:
    """Of CALLS traced calls of a leaf function that uses its red zone."""
    with Bpftrace(f'usdt:"{program}":site:leaf {{ @ = count(); }}') as trace:
        done = subprocess.run(
            [program, str(CALLS)], input="\n", capture_output=True, text=True, check=True
        )
    if trace.map() != CALLS:
        raise Refusal(f"{program.name}: bpftrace counted {trace.map()} of {CALLS} calls")
    return int(done.stdout)


def sites(turns: int, repeats: int) -> Section:
    section = Section(
        "Probe site", "the C loop by its nop, ns a hit; and a leaf function's results"
    )
    limit = place.BENCH / "limit.c"
    leaf = place.ROOT / "tests" / "c" / "red_zone.c"
    if platform.machine() != "x86_64":
        section.rows = [Row("nop5", note="a question of x86-64 alone")]
        return section
    kinds = {
        "nop": [],
        "nop, no red zone": ["-mno-red-zone"],
        "nop5": ["-DLIMIT_NOP5"],
        "nop5, no red zone": ["-DLIMIT_NOP5", "-mno-red-zone"],
    }
    workers = {
        name: costs.Limit(place.compiled(limit, f"limit-{i}", *flags))
        for i, (name, flags) in enumerate(kinds.items())
    }
    measured = costs.measure(workers, turns, repeats)
    section.rows = [Row(name, values) for name, values in measured.items()]
    for row in section.rows[1:]:
        row.reference = section.rows[0]
    kinds = {
        "nop": [],
        "nop5": ["-DRED_ZONE_NOP5"],
        "nop5, no red zone": ["-DRED_ZONE_NOP5", "-mno-red-zone"],
    }
    for i, (name, flags) in enumerate(kinds.items()):
        wrong = wrong_results(place.compiled(leaf, f"leaf-{i}", *flags))
        note = f"{wrong:,} of {CALLS:,} results wrong while traced"
        section.rows.append(Row(f"leaf function, {name}", note=note))
    return section
