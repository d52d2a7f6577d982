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

The same eight in every probe of code that runs. Where a probe has others, they stand
below its table.

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
    "ARGS": ("co_firstlineno", "text"),
    "SLOW": ("co_firstlineno", "int64_t"),
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
    "CALL": (
        "Calls",
        "PY_START_ARGS reads the arguments of the call when it begins: `n=3, name='x',\n"
        "*args=(…2 items), **kw={…1 item}`, in the order of the signature; `self` by its type,\n"
        "other values by the rules of all values.\n"
        "\n"
        "FUNC_SLOW times every call in the process and fires only for those that took\n"
        "`PYUSDT_SLOW_USEC` or longer, so that a fast call costs no trap. A generator or\n"
        "coroutine runs many times: the probe fires when one of its runs took that long\n"
        "(ended = 0 if it then yielded), and at its end also if all of them together did\n"
        "(total). Some 200,000 frames, suspended ones included, can be timed at once. bpftrace\n"
        'before 0.27 finds total in `reg("r10")` and ended in `reg("r11")` on x86-64.',
    ),
    "RUNTIME": (
        "Runtime",
        "GC_* stand in `gc.callbacks` while a tracer is attached to them. IMPORT_* fire for\n"
        "what is really loaded, not for an `import` of a module that is there already;\n"
        "imports nest.",
    ),
    "MARK": (
        "Marks",
        "Placed by the program itself, with `pyusdt.mark()` and `pyusdt.span`. No event feeds\n"
        "them. A name is UTF-8; characters that have none (lone surrogates) are written as\n"
        "`\\udc80`, a NUL as `\\x00`; one that is not ASCII is cut after 511 bytes. An id is\n"
        "above 0 and used once in a process; a forked child goes on counting where its parent\n"
        "stood, so take pid and id together as a key.",
    ),
}
VERSIONS = {"": "3.12 and later", "BEFORE_3_14": "3.12, 3.13", "SINCE_3_14": "3.14 and later"}


def arguments(text: str) -> list[str]:
    """Rows of a table from entries ARGUMENT(...)."""
    rows = []
    pattern = r'ARGUMENT\((\d), (\w+),\s*"(.*?)",\s*"((?:[^"\\]|\\.)*)"\)'
    for number, name, kind, about in re.findall(pattern, text):
        rows.append(f"| arg{number} | {name} | {kind} | {about.replace(chr(92), '')} |\n")
    return rows


def own_arguments(source: str, name: str, shape: str) -> list[str]:
    """The table of a probe whose arguments are not all the usual ones."""
    body = re.search(rf"#define PYUSDT_ARGUMENTS_{shape}\(ARGUMENT\)(.*)", source)
    if body is None:
        return []
    also = ", beside the usual ones" if shape in SHAPES else ""
    head = f"\n{name}{also}:\n\n| arg | name | type | what |\n|---|---|---|---|\n"
    return [head, *arguments(body.group(1))]


def document() -> str:
    source = re.sub(r"\s*\\\n\s*", " ", TABLE.read_text())
    lines = [HEAD]
    usual = re.search(r"#define PYUSDT_ARGUMENTS\(ARGUMENT\)(.*)", source)
    assert usual
    lines += arguments(usual.group(1))
    for group, (title, text) in GROUPS.items():
        body = re.search(rf"#define PYUSDT_{group}_PROBES\(PROBE\)(.*)", source)
        assert body, group
        lines.append(f"\n## {title}\n\n{text}\n\n")
        probes = re.findall(
            r'(?:(\w+_3_\d+)\( )?PROBE\((\w+),\s*(\w+),\s*(\w+),\s*"(.*?)"\)', body.group(1)
        )
        usual = all(shape in SHAPES for _, _, _, shape, _ in probes)
        if usual:
            lines.append("| probe | fires when | line | value | CPython |\n|---|---|---|---|---|\n")
        else:
            lines.append("| probe | fires when | CPython |\n|---|---|---|\n")
        for version, name, _, shape, about in probes:
            columns = SHAPES[shape] if usual else ()
            cells = [name, about, *columns, VERSIONS[version]]
            lines.append(f"| {' | '.join(cells)} |\n")
        for _, name, _, shape, _ in probes:
            lines += own_arguments(source, name, shape)
    return "".join(lines)


def main() -> None:
    wanted = document()
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(wanted)
    elif DOCUMENT.read_text() != wanted:
        sys.exit("docs/probes.md is not what src/probes.h says; type: make docs")


if __name__ == "__main__":
    main()
