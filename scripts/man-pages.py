"""Writes docs/man/*.1 from the command line's parser: python scripts/man-pages.py [--check].

--check writes nothing and exits with 1 if a page is not what it should be.  The library
is not needed: the pages are made without importing it.
"""

import argparse
import os
import re
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "man"

package = types.ModuleType("pyusdt")
package.__path__ = [str(ROOT / "pyusdt")]
package.__version__ = re.search(r'__version__ = "(.*)"', (ROOT / "pyusdt/__init__.py").read_text())[
    1
]
sys.modules["pyusdt"] = package
os.environ["COLUMNS"] = "80"

from pyusdt.cli import parser  # noqa: E402


def escaped(text: str) -> str:
    """As roff shows it unchanged."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def verbatim(text: str) -> str:
    return f".nf\n{escaped(text.strip(chr(10)))}\n.fi\n"


def usage(one: argparse.ArgumentParser) -> str:
    text = one.usage or one.format_usage().removeprefix("usage: ")
    return "\n".join(line.strip() for line in text.strip().split("\n"))


def options(one: argparse.ArgumentParser) -> str:
    lines = []
    for action in one._actions:
        words = ", ".join(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            continue
        if action.nargs != 0:
            value = action.metavar or (
                "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest
            )
            words = f"{words} {value}".strip()
        lines.append(f".TP\n.B {escaped(words)}\n{escaped(action.help or words)}\n")
    return "".join(lines)


def page(name: str, summary: str, one: argparse.ArgumentParser, more: str = "") -> str:
    title = name.upper()
    return (
        f'.\\" Written by scripts/man-pages.py from pyusdt/cli: make docs\n'
        f'.TH "{title}" 1 "" "pyusdt" "User Commands"\n'
        f".SH NAME\n{escaped(name)} \\- {escaped(summary)}\n"
        f".SH SYNOPSIS\n{verbatim(usage(one))}"
        f".SH DESCRIPTION\n{verbatim(one.description or summary)}"
        f"{more}"
        f".SH OPTIONS\n{options(one)}"
        f".SH EXAMPLES\n{verbatim((one.epilog or '').removeprefix('examples:'))}"
        ".SH EXIT STATUS\n0; with a program to be started, its own; 1 if something is wrong, "
        "2 if the\ncommand line is.\n"
        f".SH SEE ALSO\n{'.BR pyusdt (1), ' if name != 'pyusdt' else ''}.BR bpftrace (8)\n"
    ).replace("SEE ALSO\n.BR pyusdt (1), .BR", "SEE ALSO\n.BR pyusdt (1),\n.BR")


def pages() -> dict[str, str]:
    top = parser.build()
    summaries = parser.summaries(top)
    more = ".SH TOOLS AND COMMANDS\n" + "".join(
        f".TP\n.BR pyusdt\\-{name} (1)\n{escaped(about)}\n" for name, about in summaries.items()
    )
    made = {"pyusdt.1": page("pyusdt", "see what a running Python program does", top, more)}
    for name, one in parser.subparsers(top).items():
        made[f"pyusdt-{name}.1"] = page(f"pyusdt-{name}", summaries[name], one)
    return made


def main() -> None:
    made = pages()
    if sys.argv[1:] != ["--check"]:
        PAGES.mkdir(exist_ok=True)
        for old in PAGES.glob("*.1"):
            old.unlink()
        for name, text in made.items():
            (PAGES / name).write_text(text)
        return
    have = {path.name: path.read_text() for path in PAGES.glob("*.1")}
    wrong = [name for name in made | have if made.get(name) != have.get(name)]
    if wrong:
        sys.exit(f"docs/man: {', '.join(wrong)} not as pyusdt/cli says; type: make docs")


if __name__ == "__main__":
    main()
