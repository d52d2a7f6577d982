"""Writes docs/probes.md from src/probes.h: python scripts/probes-doc.py [--check].

--check writes nothing and exits with 1 if the file is not what it should be.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src" / "probes.h"
DOCUMENT = ROOT / "docs" / "probes.md"

HEAD = """\
# Probes

<!-- Written by scripts/probes-doc.py from src/probes.h: `make docs`. -->

The provider is `pyusdt`. A probe that no tracer is attached to costs nothing: its
event is not registered with `sys.monitoring`.

## Arguments

The same eight in every probe but those of the last section.

| arg | name | type | what |
|---|---|---|---|
"""

SHAPES = {
    "CODE": ("co_firstlineno", '""'),
    "VALUE": ("co_firstlineno", "text"),
    "LINE": ("current", '""'),
    "ERROR": ("current", "text"),
    "JUMP": ("current", "int64_t"),
    "PLACE": ("current", '""'),
}
GROUPS = {
    "FUNCTION": (
        "Functions",
        "Starts and ends pair up by `frame` (arg7): for every PY_START, PY_RESUME and PY_THROW\n"
        "there is a PY_RETURN, a PY_YIELD or a PY_UNWIND with the same frame. (CPython 3.13\n"
        "closes a generator that has nothing to clean up without running it: nothing fires.)\n"
        "C_RETURN and C_RAISE follow a CALL of a C function.",
    ),
    "EXCEPTION": (
        "Exceptions",
        "RAISE fires in every function that an exception passes, also where it came out of a\n"
        "call.",
    ),
    "CONTROL_FLOW": (
        "Control flow",
        "For tools that want every step. INSTRUCTION fires for each instruction, at the full\n"
        "price of an event.",
    ),
}
MARKS = """
## Marks

Placed by the program itself, with `pyusdt.mark()` and `pyusdt.span`. No event feeds them,
and their arguments are their own. A name is UTF-8; characters that have none (lone
surrogates) are written as `\\udc80`, a NUL as `\\x00`; one that is not ASCII is cut after
511 bytes. An id is above 0 and used once in a process; a forked child goes on counting
where its parent stood, so take pid and id together as a key.

| probe | arguments | fires when |
|---|---|---|
"""
VERSIONS = {"": "3.12 and later", "BEFORE_3_14": "3.12, 3.13", "SINCE_3_14": "3.14 and later"}


def document() -> str:
    source = re.sub(r"\s*\\\n\s*", " ", TABLE.read_text())
    lines = [HEAD]
    for found in re.finditer(r'ARGUMENT\((\d), (\w+),\s*"(.*?)",\s*"((?:[^"\\]|\\.)*)"\)', source):
        number, name, kind, about = found.groups()
        lines.append(f"| arg{number} | {name} | {kind} | {about.replace(chr(92), '')} |\n")
    for group, (title, text) in GROUPS.items():
        body = re.search(rf"#define PYUSDT_{group}_PROBES\(PROBE\)(.*)", source)
        assert body, group
        lines.append(f"\n## {title}\n\n{text}\n\n")
        lines.append("| probe | fires when | line | value | CPython |\n|---|---|---|---|---|\n")
        probes = re.findall(
            r'(?:(\w+_3_\d+)\( )?PROBE\((\w+),\s*(\w+),\s*(\w+),\s*"(.*?)"\)', body.group(1)
        )
        for version, name, _, shape, about in probes:
            line, value = SHAPES[shape]
            lines.append(f"| {name} | {about} | {line} | {value} | {VERSIONS[version]} |\n")
    marks = re.search(r"#define PYUSDT_MARK_PROBES\(PROBE\)(.*)", source)
    assert marks
    lines.append(MARKS)
    for name, arguments, about in re.findall(
        r'PROBE\((\w+),\s*"(.*?)",\s*"((?:[^"\\]|\\.)*)"\)', marks.group(1)
    ):
        lines.append(f"| {name} | {arguments} | {about.replace(chr(92), '')} |\n")
    return "".join(lines)


def main() -> None:
    wanted = document()
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(wanted)
    elif DOCUMENT.read_text() != wanted:
        sys.exit("docs/probes.md is not what src/probes.h says; type: make docs")


if __name__ == "__main__":
    main()
