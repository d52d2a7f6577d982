"""What pyusdt costs, measured: `make bench`.

    bench.py [--quick] [--output FILE] [SECTION...]

prints one table a section.  A whole run, which takes some fifteen minutes, writes
bench/RESULTS.md; --quick takes about two minutes and writes nothing.  It needs
root, bpftrace and valgrind, makes all it needs under build/, and leaves nothing
running.
"""

import argparse
import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

import costs
import features
import latency
import nops
import place
import programs
import table
import web
from tracer import why_not

RESULTS = ROOT / "bench" / "RESULTS.md"
# Below this line people write; above it the benchmark does.
KEPT = "<!-- bench.py keeps what stands below -->"

ABOUT = """# Results of `make bench`

Written by `bench/bench.py`; do not edit above the last comment. Times are the least and the
median of all repetitions, CPU time where an event is measured; a ratio is that of the two
least times, because what else a machine does only makes a run slower. Rows that are
compared ran in turns. Absolute times move with the machine, ratios hardly.
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about two minutes, less precise")
    parser.add_argument("--output", type=Path, help="write the results here")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=" ".join(SECTIONS))
    options = parser.parse_args()
    for name in options.sections:
        if name not in SECTIONS:
            parser.error(f"there is no section {name}: {' '.join(SECTIONS)}")
    if options.output is None and not options.quick and not options.sections:
        options.output = RESULTS
    options.sections = options.sections or list(SECTIONS)
    return options


def check(sections: list[str]) -> None:
    """Raises Refusal when nothing can be measured here."""
    if os.geteuid() != 0:
        raise table.Refusal("the benchmark runs bpftrace, which needs root; type: sudo make bench")
    if why := why_not():
        raise table.Refusal(f"{why}; type: make bench")
    for program, section in (("valgrind", "untraced"), ("readelf", "call")):
        if section in sections and shutil.which(program) is None:
            raise table.Refusal(f"{program} is not installed; type: make bench")
    place.ours()


def limit() -> Path:
    return place.compiled(place.BENCH / "limit.c", "limit")


def probe_names() -> list[str]:
    code = "import pyusdt; print(*[probe[0] for probe in pyusdt.probes()])"
    env = place.environment(PYTHONPATH=str(ROOT))
    return place.run([sys.executable, "-c", code], env=env).split()


# name: (options) -> Section
SECTIONS = {
    "call": lambda o: costs.tracers(limit(), *size(o, 60)),
    "keys": lambda o: costs.keyed(limit(), *size(o, 40)),
    "probes": lambda o: costs.probes(limit(), probe_names(), *size(o, 20)),
    "calls": lambda o: features.calls(limit(), *size(o, 40)),
    "runtime": lambda o: features.runtime(*size(o, 20)),
    "marks": lambda o: features.marks(limit(), *size(o, 40)),
    "scaling": lambda o: costs.scaling(*size(o, 20), quick=o.quick),
    "attach": lambda o: latency.latency(o.quick),
    "settings": lambda o: latency.settings(o.quick),
    "web": lambda o: web.web(o.quick),
    "untraced": lambda o: programs.untraced(o.quick),
    "site": lambda o: nops.sites(*size(o, 40)),
    "programs": lambda o: programs.programs(o.quick),
}


def size(options: argparse.Namespace, repeats: int) -> tuple[int, int]:
    """(turns of a loop, repetitions)."""
    return (10_000, 8) if options.quick else (20_000, repeats)


def write(output: Path, sections: list[table.Section], seconds: float) -> None:
    kept = f"{KEPT}\n"
    if output.exists():
        _, mark, below = output.read_text().partition(KEPT)
        if mark:
            kept = mark + below
    today = datetime.date.today().isoformat()
    head = [ABOUT, *(f"- {line}" for line in place.machine())]
    head.append(f"- {today}, in {seconds / 60:.0f} minutes; load when it began: {LOAD}\n")
    parts = ["\n".join(head), *map(table.markdown, sections), kept]
    output.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts))
    place.say(f"wrote {output}")


def main() -> int:
    options = arguments()
    started = time.monotonic()
    try:
        check(options.sections)
        for line in place.machine():
            print(line)
        print(flush=True)
        done = []
        for name in options.sections:
            place.say(f"measuring: {name}")
            done.append(SECTIONS[name](options))
            print(table.text(done[-1]), flush=True)
        if options.output is not None:
            write(options.output, done, time.monotonic() - started)
    except table.Refusal as refusal:
        print(f"pyusdt: {refusal}", file=sys.stderr)
        return 1
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"pyusdt: the benchmark failed: {text}", file=sys.stderr)
        return 1
    rows = [row for section in done for row in section.rows if row.target is not None]
    for row in rows:
        if row.verdict != "met":
            print(f"target {row.verdict}: {row.name}")
    met = sum(row.verdict == "met" for row in rows)
    print(f"bench: {met} of {len(rows)} targets met, {time.monotonic() - started:.0f} s")
    return 0


def end(number, frame):
    """Ctrl-C and SIGTERM: by the clean-up of everything that is open."""
    raise SystemExit(128 + number)


LOAD = round(os.getloadavg()[0], 1)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    sys.exit(main())
