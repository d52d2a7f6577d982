"""The tools: tools/py*.bt, each a bpftrace script whose head says what it does.

They are installed as pyusdt/tools; in a checkout they stand at its root.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import script
from .errors import Failure


@dataclass(frozen=True)
class Tool:
    """name: as typed, without the py in front.  about: the head's text, from its 2nd line."""

    name: str
    path: Path
    summary: str
    about: str

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def is_live(self) -> bool:
        """Whether it counts in silence, so that its maps are worth a look meanwhile."""
        return all(
            "printf(" not in clause.body or clause.points[0] in ("BEGIN", "END", "begin", "end")
            for clause in script.clauses(self.text)
        )


def directory() -> Path:
    here = Path(__file__).resolve()
    for where in (here.parents[1] / "tools", here.parents[2] / "tools"):
        if any(where.glob("py*.bt")):
            return where
    raise Failure(f"the tools (py*.bt) are not beside {here.parents[1]}; install pyusdt again")


def _tool(path: Path) -> Tool:
    found = re.search(r"/\*(.*?)\*/", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = [
        re.sub(r"^ \* ?", "", line).rstrip() for line in (found[1] if found else "").split("\n")
    ]
    text = "\n".join(lines).strip("\n ")
    first, _, about = text.partition("\n")
    summary = first.partition(" - ")[2].strip().rstrip(".")
    # The summary may go on in the next lines.
    return Tool(path.stem.removeprefix("py"), path, summary, about.strip("\n"))


@cache
def tools() -> dict[str, Tool]:
    return {tool.name: tool for tool in map(_tool, sorted(directory().glob("py*.bt")))}
