"""Rewrites a bpftrace script for the installed bpftrace and the process to be traced.

A script is cut into top-level pieces: comments, preprocessor lines, and clauses, each
being `attach points /predicate/ { body }`.  Only what has to differ is changed: the
path of the library, a predicate on the process, the two arguments that bpftrace before
0.27 cannot name.  Everything else is kept byte for byte.

Pure: text in, text out.
"""

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Version = tuple[int, int]
Change = Callable[[str], str]
# Of a probe's name: {"arg0": what it is called, ...}; empty if that is not known.
Arguments = Callable[[str], dict[str, str]]


def no_arguments(probe: str) -> dict[str, str]:
    return {}


# From here on bpftrace has arg6 and arg7 on x86-64.
NAMES_ARGUMENTS = (0, 27)


# Before 0.22 texts lie on BPF's stack of 512 bytes: three of 100 fit.
SHORT_TEXT = 100


def text_size(version: Version) -> int:
    """Bytes of a text, with its final NUL, that the command has bpftrace read."""
    return SHORT_TEXT if version < (0, 22) else 256


# Separates the fields of a printf() that structured() has rewritten.
FIELD = "\x1f"
# Names of our own maps begin so; they are not shown.
OURS = "@pyusdt_"
WHERE = "@where"  # what a function's number stands for
RESTS = f"{OURS}rest"  # of texts in @where that were too long
READY = "pyusdt-ready"
ENDED = "pyusdt-ended"


@dataclass(frozen=True)
class Clause:
    """`points /predicate/ { body }`; head is the text before the brace, as written."""

    head: str
    body: str  # with its braces

    @property
    def points(self) -> list[str]:
        return [p for p in (point.strip() for point in self._split()[0].split(",")) if p]

    @property
    def predicate(self) -> str:
        return self._split()[1]

    def _split(self) -> tuple[str, str]:
        """Attach points, predicate.  A predicate's slash follows white space; a path's does not."""
        found = re.fullmatch(r"(.*?)(?:\s/(.*)/\s*)?", _blank_comments(self.head), re.DOTALL)
        assert found
        return found[1], (found[2] or "").strip()

    @property
    def is_probe(self) -> bool:
        first = self._split()[0].split()
        return bool(first) and first[0] not in _NOT_PROBES and "=" not in first

    @property
    def is_begin(self) -> bool:
        return self.points in (["BEGIN"], ["begin"])

    @property
    def is_end(self) -> bool:
        return self.points in (["END"], ["end"])


_NOT_PROBES = {"config", "struct", "union", "enum", "fn", "macro", "typedef", "let"}
_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"|^[ \t]*#[^\n]*|[{}]|[^/\"{}#\n]+|.", re.DOTALL | re.M
)


def _blank_comments(text: str) -> str:
    return "".join(
        " " if token.startswith(("/*", "//")) or token.lstrip().startswith("#") else token
        for token in _TOKEN.findall(text)
    )


def pieces(text: str) -> Iterator[str | Clause]:
    """The script in order; joined together again they are the script."""
    head, body, depth = "", "", 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if depth == 0 and token == "{":
            depth, body = 1, "{"
        elif depth == 0:
            head += token
        else:
            body += token
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth == 0:
                # What ends in a semicolon, such as a struct, is no clause's head.
                start = _same_length_blank(head).rfind(";") + 1
                if start:
                    yield head[:start]
                yield Clause(head[start:], body)
                head = body = ""
    yield head + body


def clauses(text: str) -> list[Clause]:
    """The clauses that attach to something."""
    return [piece for piece in pieces(text) if isinstance(piece, Clause) and piece.is_probe]


# ---- the library and its probes ----

# usdt:PATH:pyusdt:NAME, the path bare or quoted, or empty.  Another library's probes
# have another provider.
_POINT = re.compile(r"\b(?:usdt|U):(\"(?:[^\"\\]|\\.)*\"|[^:,\s{\"]*):pyusdt:([\w*?\[\]]+)")


def probes_of(text: str) -> list[str]:
    """Names, with wildcards, of the pyusdt probes that a script attaches to."""
    names = [found[2] for clause in clauses(text) for found in _POINT.finditer(clause.head)]
    return list(dict.fromkeys(names))


def quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Form:
    """How a script attaches.

    library: path of the library as the tracer sees it.
    pid: the only process whose events count, as the tracer's PID namespace names it.
    probes: those that the library has; None if that is not known.
    """

    version: Version
    machine: str
    library: str
    pid: int | None = None
    probes: frozenset[str] | None = None


def rewrite(text: str, form: Form) -> str:
    """The script for one bpftrace, library and process."""
    parts = []
    for piece in pieces(text):
        if isinstance(piece, str):
            parts.append(piece)
        else:
            parts.append(_clause(piece, form) if piece.is_probe else piece.head + piece.body)
    return "".join(parts)


def missing(text: str, probes: frozenset[str]) -> list[str]:
    """Names that a script attaches to and a library does not have."""
    return [name for name in probes_of(text) if not fnmatch.filter(probes, name)]


def _without_missing(clause: Clause, probes: frozenset[str]) -> str:
    """The clause's head without attach points that the library lacks.

    A script may name probes that not every CPython has, such as BRANCH and BRANCH_LEFT.
    If nothing is left, the head stays as it is, for bpftrace to refuse.
    """
    lacking = {
        point
        for point in clause.points
        if (found := _POINT.search(point)) and not fnmatch.filter(probes, found[2])
    }
    kept = [point for point in clause.points if point not in lacking]
    if not lacking or not kept:
        return clause.head
    return "\n" + ",\n".join(kept) + (f"\n/{clause.predicate}/\n" if clause.predicate else "\n")


def _clause(clause: Clause, form: Form) -> str:
    head, body = clause.head, clause.body
    if form.probes is not None:
        head = _without_missing(clause, form.probes)
    if _POINT.search(head):
        point = f"usdt:{quoted(form.library)}:pyusdt:"
        head = outside_comments(head, lambda code: _POINT.sub(lambda m: point + m[2], code))
        head, body = (outside_comments(t, lambda c: _arguments(c, form)) for t in (head, body))
        if text_size(form.version) == SHORT_TEXT:
            body = _with_rests(body)
    if form.pid is not None and all(_is_of_a_process(point) for point in clause.points):
        head = _with_predicate(head, f"pid == {form.pid}")
    return head + body


def is_wide(text: str) -> bool:
    """Whether a script has events of all processes, which bpftrace's own -p does not narrow."""
    narrow = ("BEGIN", "END", "begin", "end", "interval", "i", "usdt", "U")
    return any(p.partition(":")[0] not in narrow for c in clauses(text) for p in c.points)


def is_of_others(text: str) -> bool:
    """Whether a script has events that happen in other processes and may still be about the
    one that is traced, such as the scheduler's.  0.27's own -p would drop them."""
    aside = ("BEGIN", "END", "begin", "end", "interval", "i")
    points = [point for clause in clauses(text) for point in clause.points]
    return any(not _is_of_a_process(p) for p in points if p.partition(":")[0] not in aside)


_OF_A_PROCESS = {"usdt", "U", "uprobe", "u", "uretprobe", "ur", "profile", "p"}
_OF_A_PROCESS |= {"software", "s", "hardware", "h"}


def _is_of_a_process(point: str) -> bool:
    """Whether `pid` is the process that the event is about.

    In the scheduler's events it is the one that runs, often another than the one
    that is woken: scripts that use them look for the process themselves.
    """
    kind, _, rest = point.partition(":")
    if kind in ("tracepoint", "t"):
        return rest.startswith(("syscalls:", "raw_syscalls:", "exceptions:"))
    return kind in _OF_A_PROCESS


def outside_comments(text: str, change: Change) -> str:
    """change() applied to the code, not to comments.  Strings go with the code around them."""
    parts, code = [], ""
    for token in _TOKEN.findall(text):
        if token.startswith(("/*", "//")):
            parts += [change(code), token]
            code = ""
        else:
            code += token
    return "".join([*parts, change(code)])


def without_texts(text: str) -> str:
    """The code without comments and what strings hold."""
    return re.sub(_STRING, '""', _blank_comments(text))


def _outside_strings(code: str, change: Change) -> str:
    return "".join(
        part if part.startswith('"') else change(part)
        for part in re.split(r'("(?:[^"\\]|\\.)*")', code)
    )


_PLACE = re.compile(rf"{WHERE}\[(\$\w+)\] = \(str\((arg\d)\), str\((arg\d)\)[^;]*;")


def _with_rests(body: str) -> str:
    """The body with a second map for texts that do not fit into @where.

    What it holds means something only where the first part is full.
    """
    size = SHORT_TEXT - 1
    rest = rf"\g<0> {RESTS}[\1] = (str(\2 + {size}), str(\3 + {size}));"
    return outside_comments(body, lambda code: _PLACE.sub(rest, code))


def with_rests(place: list[Any], rests: list[Any]) -> list[Any]:
    """An entry of @where, its first two parts as long as they were read in all."""
    found = list(place)
    for i, rest in enumerate(rests):
        text = found[i].removesuffix("..")  # some versions mark what they cut
        if len(text.encode()) == SHORT_TEXT - 1:
            found[i] = text + rest
            if len(rest.encode()) == SHORT_TEXT - 1:
                found[i] += ".."
    return found


_OLD = {"arg6": 'reg("r8")', "arg7": 'reg("r9")'}
_REGISTER = re.compile(r"\breg\(\s*\"(r8|r9)\"\s*\)")


def _arguments(code: str, form: Form) -> str:
    """arg6 and arg7 as this bpftrace can read them (see src/usdt.h)."""
    if form.machine == "x86_64" and form.version < NAMES_ARGUMENTS:
        return _outside_strings(code, lambda c: re.sub(r"\barg[67]\b", lambda m: _OLD[m[0]], c))
    return _REGISTER.sub(lambda m: "arg6" if m[1] == "r8" else "arg7", code)


def _with_predicate(head: str, condition: str) -> str:
    """The head with one more condition."""
    clause = Clause(head, "")
    if not clause.predicate:
        return f"{head.rstrip()} /{condition}/\n"
    # Its slashes are the first one after white space and the last one, comments aside.
    blank = _same_length_blank(head)
    first = re.search(r"\s/", blank)
    assert first
    last = blank.rindex("/")
    old = head[first.end() : last]
    return f"{head[: first.end()]}{condition} && ({old.strip()}){head[last:]}"


def _same_length_blank(text: str) -> str:
    return "".join(
        " " * len(token)
        if token.startswith(("/*", "//")) or token.lstrip().startswith("#")
        else token
        for token in _TOKEN.findall(text)
    )


# ---- additions ----


def duration(seconds: float) -> str:
    """A clause that ends the script after so many seconds."""
    return f"interval:ms:{max(1, round(seconds * 1000))} {{ exit(); }}\n"


def with_marks(text: str) -> str:
    """The script, printing READY when its probes are attached and ENDED when it ends.

    bpftrace attaches the interval with the other probes.  It takes but one END.
    """
    flag = f"{OURS}ready[0]"
    ended = f' clear({OURS}ready); printf("{ENDED}\\n");'
    parts = [
        piece
        if isinstance(piece, str)
        else piece.head + "{" + (ended if piece.is_end else "") + piece.body[1:]
        for piece in pieces(text)
    ]
    if not any(clause.is_end for clause in clauses(text)):
        parts.append(f"\nEND {{{ended} }}\n")
    return "".join(parts) + (
        f'\ninterval:ms:100 /!{flag}/ {{ {flag} = 1; printf("{READY}\\n"); }}\n'
    )


def maps_of(text: str) -> list[str]:
    """Names of the maps that a script uses, "@" first."""
    found = [
        name
        for clause in clauses(text)
        for part in re.split(r'"(?:[^"\\]|\\.)*"', _blank_comments(clause.body))
        for name in re.findall(r"@\w*", part)
    ]
    return list(dict.fromkeys(found))


def shown_maps(text: str) -> list[str]:
    """Those that are left at the end: what a script clears there is its own affair."""
    ends = [clause.body for clause in clauses(text) if clause.is_end]
    private = {name for body in ends for name in re.findall(r"\bclear\(\s*(@\w*)", body)}
    return [name for name in maps_of(text) if name not in private]


def number_maps(text: str) -> list[str]:
    """Those of them that hold one number a key."""
    code = "".join(without_texts(clause.body) for clause in clauses(text))
    summed = set(re.findall(r"(@\w+)(?:\[[^\]]*\])?\s*=\s*(?:count|sum|min|max|avg)\(", code))
    return [name for name in shown_maps(text) if name in summed]


def refresh_clause(text: str, seconds: float, mark: str, more: Iterable[str] = ()) -> str:
    """A clause that prints the script's maps, and more, each so many seconds, and the mark."""
    prints = "".join(f"print({name}); " for name in dict.fromkeys([*shown_maps(text), *more]))
    mark = mark.replace("\n", "\\n")
    interval = f"interval:ms:{max(1, round(seconds * 1000))}"
    return f'{interval} {{ {prints}printf("{mark}"); }}\n'


# ---- names of values ----

_WORDS = {
    "arg0": "function",
    "arg1": "file",
    "arg2": "line",
    "arg3": "offset",
    "arg4": "value",
    "arg5": "function",
    "nsecs": "nsecs",
    "args->next_pid": "tid",
}
_STRING = r'"(?:[^"\\]|\\.)*"'


def _arguments_of(clause: Clause, arguments: Arguments) -> dict[str, str]:
    """What arg0, arg1, ... of a clause's probes are called."""
    for found in _POINT.finditer(clause.head):
        names = arguments(found[2])
        if names:
            return {**_WORDS, **names}
    return _WORDS


def _name_of(expression: str, words: dict[str, str]) -> str:
    """What an expression may be called; "" if that cannot be told."""
    text = expression.strip()
    while found := re.fullmatch(
        r"(?:\(\w+\)\s*)?(?:str|buf|ntop|strftime)?\((.*)\)|\(\w+\)\s*(.*)", text
    ):
        parts = _parts(found[1] or found[2] or "")
        if not parts or (found[1] and text.startswith("strftime")):
            return "time" if parts else ""
        text = parts[0]
    if text in words:
        return words[text]
    if re.fullmatch(r"[a-z]+", text):
        return text  # pid, tid, comm, probe, cpu
    found = re.fullmatch(r"[@$]([A-Za-z]\w*)(\[[^\[\]]*\])?(\.\d+)?", text)
    return found[1] if found else ""


def _parts(text: str) -> list[str]:
    """Split at the commas that stand in no brackets and no string."""
    parts, depth = [""], 0
    for token in re.findall(rf"{_STRING}|.", text, re.DOTALL):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token, 0)
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part for part in (part.strip() for part in parts) if part]


def _unique(names: list[str], instead: str) -> list[str]:
    """Each name once; those without one are numbered."""
    found: list[str] = []
    for i, name in enumerate(names, 1):
        word, again = name or f"{instead}{i}", 2
        while word in found:
            word, again = f"{name or instead}{again}", again + 1
        found.append(word)
    return found


def _to_bracket(text: str, start: int) -> str:
    """What stands from start to the bracket that closes there."""
    depth = 0
    for found in re.finditer(rf"{_STRING}|[()\[\]]", text[start:]):
        if found[0] in ")]" and depth == 0:
            return text[start : start + found.start()]
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(found[0], 0)
    return ""


def keys_of(
    text: str, arguments: Arguments = no_arguments, variables: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Names of the parts of each map's keys, by the expressions they are set with.

    variables: what some are called, if it is not their own name.
    """
    names: dict[str, list[str]] = {}
    for clause in clauses(text):
        body = _blank_comments(clause.body)
        for found in re.finditer(r"(@\w*)\[", body):
            words = {**_arguments_of(clause, arguments), **(variables or {})}
            parts = [_name_of(part, words) for part in _parts(_to_bracket(body, found.end()))]
            names.setdefault(found[1], _unique(parts, "key"))
    return names


# ---- printf() ----

_PRINTF = re.compile(rf"\bprintf\(\s*({_STRING}(?:\s*{_STRING})*)")
_DIRECTIVE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?((?:hh|h|ll|l|j|z|t)?[a-zA-Z])")


def structured(text: str, arguments: Arguments = no_arguments) -> tuple[str, list[list[str]]]:
    """The script with each printf() giving its values alone, and the names of those.

    It prints FIELD, its number in the list, and the values, FIELD before each.  What
    BEGIN and END print is for people, and stays as it is.
    """
    heading = _heading(text)
    names: list[list[str]] = []

    def replaced(body: str, called: dict[str, str]) -> str:
        parts, at = [], 0
        for found in _PRINTF.finditer(body):
            kinds = _DIRECTIVE.findall(found[1].replace("%%", ""))
            if not kinds:
                continue
            values = _parts(_to_bracket(body, found.end()))[: len(kinds)]
            words = _words(heading, values, called)
            escaped = "\\x1f"
            fields = escaped.join("%" + kind for kind in kinds)
            parts += [
                body[at : found.start()],
                f'printf("{escaped}{len(names)}{escaped}{fields}\\n"',
            ]
            names.append(_unique(words, "field"))
            at = found.end()
        return "".join([*parts, body[at:]])

    result = []
    for piece in pieces(text):
        if isinstance(piece, str):
            result.append(piece)
        elif piece.is_begin or piece.is_end:
            result.append(piece.head + piece.body)
        else:
            change = functools.partial(replaced, called=_arguments_of(piece, arguments))
            result.append(piece.head + outside_comments(piece.body, change))
    return "".join(result), names


def _words(heading: list[str], values: list[str], arguments: dict[str, str]) -> list[str]:
    """Names of values: those of the heading if there is one for each; else what can be told.

    The last column of a heading often takes several values.
    """
    if len(heading) == len(values):
        return heading
    names = [_name_of(value, arguments) for value in values]
    return [name or (heading[i] if i < len(heading) - 1 else "") for i, name in enumerate(names)]


def _heading(text: str) -> list[str]:
    """The words of the heading that the script prints in BEGIN."""
    for clause in clauses(text):
        if not clause.is_begin:
            continue
        for found in _PRINTF.finditer(clause.body):
            every = found[1] + " " + _to_bracket(clause.body, found.end())
            words = " ".join(re.findall(r'"((?:[^"\\]|\\.)*)"', every))
            words = re.sub(r"%[-\d]*\w|\\n|\\t", " ", words)
            words = re.sub(r"\((\w+)\)", r"_\1", words).strip()  # TIME(us): time_us
            if re.fullmatch(r"(?:[A-Z][A-Z0-9_/%]*(?:_[a-z]+)?[\s:]*)+", words):
                return [word.lower() for word in re.split(r"[\s:]+", words) if word]
    return []
