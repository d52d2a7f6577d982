"""What the sanitizers and valgrind have reported: python scripts/sanitizer-reports.py DIRECTORY

Reads every file there: logs of AddressSanitizer with LeakSanitizer and
UndefinedBehaviorSanitizer (asan.PID), of ThreadSanitizer (tsan.PID), and XML of
memcheck (memcheck.PID.xml).  Prints each report that counts and exits with 1 if
there is one.

CPython is not built with the sanitizers and leaks interned strings by design, so
that not every report is about pyusdt.  What counts:

- of AddressSanitizer and UndefinedBehaviorSanitizer, everything;
- of ThreadSanitizer, crashes, and what has a function of ours in one of its stacks.
  Of a data race the stacks that created the threads do not count: below the runner
  they are all ours, and what a thread of ours does has our function at the bottom of
  its own stack. They do count when the stack of one of the two accesses was lost;
- of LeakSanitizer and memcheck, what was done by a function of ours, or by one
  that it called in C: seen from the place of the report, ours comes before the
  interpreter's loop.  (The whole program runs below the runner, src/main.c.)
"""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

OURS = re.compile(r"libpyusdt")
INTERPRETER = re.compile(r"\b(_PyEval_EvalFrameDefault|PyEval_EvalCode|PyRun_|Py_CompileString)")
FRAME = re.compile(r"^\s+#\d+ ")
LEAK = re.compile(r"^(Direct|Indirect) leak of ")


def done_by_us(frames: list[str]) -> bool:
    for frame in frames:
        if OURS.search(frame):
            return True
        if INTERPRETER.search(frame):
            return False
    return False


def address_reports(text: str) -> tuple[list[str], int]:
    """Those that count, and the number of those that do not."""
    found, others = [], 0
    if "runtime error:" in text or re.search(r"ERROR: (?!LeakSanitizer: detected)", text):
        return [text], 0
    for block in re.split(r"\n\n+", text):
        frames = [line for line in block.splitlines() if FRAME.match(line)]
        if not LEAK.match(block):
            continue
        if done_by_us(frames):
            found.append(block)
        else:
            others += 1
    return found, others


def thread_reports(text: str) -> tuple[list[str], int]:
    reports = [r for r in re.split(r"={18}\n", text) if "ThreadSanitizer" in r]
    found = []
    for report in reports:
        parts = report.split("\n\n")
        if "data race" in report and "failed to restore the stack" not in report:
            parts = [p for p in parts if " created by " not in p]
        if any(OURS.search(p) for p in parts) or re.search("FATAL|ERROR:", report):
            found.append(report)
    return found, len(reports) - len(found)


def memcheck_reports(text: str) -> tuple[list[str], int]:
    found, others = [], 0
    if "</valgrindoutput>" not in text:
        return ["the process did not come to its end"], 0
    for error in ElementTree.fromstring(text).iter("error"):
        lines = [error.findtext("what") or error.findtext("xwhat/text") or ""]
        ours = False
        for stack in error.iter("stack"):
            frames = [
                f"    {frame.findtext('fn')} ({frame.findtext('file')}:{frame.findtext('line')})"
                f" {frame.findtext('obj')}"
                for frame in stack.iter("frame")
            ]
            ours = ours or done_by_us(frames)
            lines += [*frames, ""]
        if ours:
            found.append("\n".join([error.findtext("kind") or "", *lines]))
        else:
            others += 1
    return found, others


READERS = {"asan": address_reports, "tsan": thread_reports, "memcheck": memcheck_reports}


def main() -> None:
    files = [p for p in sorted(Path(sys.argv[1]).iterdir()) if p.is_file()]
    count = ignored = 0
    for path in files:
        found, others = READERS[path.name.split(".")[0]](path.read_text(errors="replace"))
        for report in found:
            print(f"---- {path}\n{report}")
        count += len(found)
        ignored += others
    print(f"pyusdt: {len(files)} files with reports: {count} count, {ignored} are CPython's own")
    if count:
        sys.exit(1)


if __name__ == "__main__":
    main()
