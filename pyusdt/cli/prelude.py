"""Gives bpftrace scripts the Python function or stack at any event of the kernel.

Three words of a script stand for bpftrace code, which is made from the layout block of
the process that is traced:

    $x = python_function();  a number that stands for the function whose frame is the
                             innermost of this thread; 0 if the thread runs no Python
    $x = python_stack();     one that stands for all its functions
    python_pid()             the process's pid

They attach no probe to Python and cost nothing where the script's own events do not
happen.  The code walks the interpreter's frames as src/layout.h tells.  bpftrace 0.17
has no functions of a script's own, so it is put in place at each use.

A function's number is made of its code object's address and of co_version, because
addresses are used again; what it stands for is kept in maps, at the first sight of it:

    @where[function] = (qualname, file, first line)
    @pyusdt_text[function, word]   a qualname or file that is not ASCII or too long for
                                   @where, as it lies in memory; with_texts() reads it
    @pyusdt_stack[stack, depth]    numbers of the functions, the innermost at depth 0; at
                                   depth -1 whether there are more, further out

Pure: text and numbers in, text out.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from . import script
from .decode import bytes_of
from .script import WHERE, Version

TEXTS = f"{script.OURS}text"
STACKS = f"{script.OURS}stack"
TORN = f"{script.OURS}torn"

# Frames, those of no function included.  What is deeper is cut.
LEAF_FRAMES = 16
STACK_FRAMES = 128
DEEPEST = 1024  # to where a stack of 3.12 is followed to see whether it is torn
CUT = -1  # the depth that says so
NO_FUNCTION = ("[no Python]", None, None)
# Of the longest text; it has 8 bytes a word.
TEXT_WORDS = 32
FILE_TEXT = 64  # key of the first word of the file's name

_WORD = re.compile(r"(\$\w+)\s*=\s*python_(function|stack)\s*\(\s*\)\s*;|\bpython_pid\s*\(\s*\)")
_ANY = re.compile(r"\bpython_(?:function|stack|pid)\s*\(\s*\)")


def is_used(text: str) -> bool:
    return any(_ANY.search(_code(clause)) for clause in script.clauses(text))


def _code(clause: script.Clause) -> str:
    return script.without_texts(clause.head + clause.body)


def names(text: str) -> dict[str, str]:
    """What the script's variables hold: {"$fn": "function", "$all": "stack"}."""
    return {
        found[1]: found[2]
        for clause in script.clauses(text)
        for found in _WORD.finditer(_code(clause))
        if found[1]
    }


def maps(text: str) -> list[str]:
    """Maps that the words bring into a script."""
    kinds = set(names(text).values())
    found = [WHERE, TEXTS] if kinds else []
    return found + ([STACKS] if "stack" in kinds else [])


def with_texts(number: int, place: list[Any], texts: Mapping[tuple[Any, ...], Any]) -> list[Any]:
    """An entry of @where with the texts that do not stand in it."""
    found = list(place)
    for i, key in enumerate((0, FILE_TEXT)):
        head = texts.get((number, key))
        if found[i] == "" and isinstance(head, list):
            chunks = [texts.get((number, key + n), []) for n in range(1, TEXT_WORDS // 4 + 1)]
            size, length = map(int, head[:2])
            found[i] = _text(size, length, [int(word) for four in chunks for word in four])
    return found


def _text(size: int, length: int, words: list[int]) -> str:
    """Of a str's bytes a character, its length and the words of its data."""
    data = bytes_of(words)
    encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}.get(size, "latin-1")
    cut = ".." if length * size > len(data) else ""  # as bpftrace marks it
    return data[: length * size].decode(encoding, "replace") + cut


def expand(text: str, layout: Mapping[str, Any], pid: int, version: Version) -> str:
    """The script with bpftrace code for its words.

    layout: of the process, by pyusdt.layout.read().
    pid: as bpftrace's `pid` has it.
    """
    parts = []
    for piece in script.pieces(text):
        if isinstance(piece, str) or not piece.is_probe:
            parts.append(piece if isinstance(piece, str) else piece.head + piece.body)
            continue
        code = _Code(layout, version, _is_at_rest(piece))

        def put(found: re.Match[str], code: "_Code" = code) -> str:
            if found[1] is None:
                return str(pid)
            return code.function(found[1]) if found[2] == "function" else code.stack(found[1])

        for part in (piece.head, piece.body):
            parts.append(script.outside_comments(part, functools.partial(_WORD.sub, put)))
    return "".join(parts)


def _is_at_rest(clause: script.Clause) -> bool:
    """Whether the interpreter has come to the event by itself, with its frames in order."""
    kinds = ("tracepoint:syscalls:", "tracepoint:raw_syscalls:", "t:syscalls:", "t:raw_syscalls:")
    return all(point.startswith((*kinds, "usdt:", "U:")) for point in clause.points)


class _Code:
    """bpftrace code for one clause.  Variables begin with $py_; every one is set at the top
    level first, for newer versions know them in the block where they are set alone."""

    def __init__(self, layout: Mapping[str, Any], version: Version, at_rest: bool):
        self.layout = layout
        self.version = version
        self.at_rest = at_rest

    def __getattr__(self, name: str) -> int:
        return int(self.layout[name])

    @property
    def is_torn_now_and_then(self) -> bool:
        """Whether the current frame may be one that is not written yet: 3.12's way to it
        leads through memory of the C stack."""
        return self.thread_frame_2 != -1 and not self.at_rest

    def current_frame(self) -> list[str]:
        """$py_frame: the innermost; 0 if there is none."""
        lines = ["$py_frame = (uint64)((struct task_struct *)curtask)->thread.fsbase;"]
        for offset in self.layout["slot_offsets"][: self.slot_steps]:
            lines += [f"if ($py_frame != 0) {{ $py_frame = {_read('$py_frame', offset)}; }}"]
        for offset in (self.thread_frame, self.thread_frame_2):
            if offset != -1:
                lines += [f"if ($py_frame != 0) {{ $py_frame = {_read('$py_frame', offset)}; }}"]
        return [*lines, *(self.dropped_if_torn() if self.is_torn_now_and_then else [])]

    def dropped_if_torn(self) -> list[str]:
        """Ends the clause unless the frames end as they should: at a shim."""
        return [
            "$py_at = $py_frame;",
            "$py_last = (uint64)0;",
            "$py_n = 0;",
            f"while ($py_n < {DEEPEST} && $py_at != 0) {{",
            "    $py_last = $py_at;",
            f"    $py_at = {_read('$py_at', self.frame_previous)};",
            "    $py_n++;",
            "}",
            f"if ($py_at == 0 && $py_last != 0 && {self.owner('$py_last')} <"
            f" {self.owner_interpreter}) {{",
            f"    {TORN} = count();",
            "    return;",
            "}",
        ]

    def owner(self, frame: str) -> str:
        return _read(frame, self.frame_owner, "uint8")

    def code_of_frame(self) -> list[str]:
        """$py_code: of $py_frame; 0 if that is no function's, or has not begun.  Goes on to
        the caller's frame."""
        lines = [
            "$py_code = (uint64)0;",
            f"$py_owner = {self.owner('$py_frame')};",
            f"if ($py_owner < {self.owner_interpreter}) {{",
            f"    $py_code = {_read('$py_frame', self.frame_code)}{self.masked()};",
            f"    $py_start = $py_code + {self.code_bytecode};",
        ]
        if self.frame_copy != -1:
            lines += [
                f"    $py_copy = (uint64){_read('$py_frame', self.frame_copy, 'uint32')};",
                "    if ($py_copy != 0) {",
                f"        $py_start = {_read('$py_code', self.code_copies)};",
                f"        $py_start = {_read('$py_start + 8 * $py_copy', self.copies_entries)};",
                "    }",
            ]
        first = f"2 * (int64){_read('$py_code', self.code_first_traceable, 'int32')}"
        return [
            *lines,
            f"    $py_position = (int64)({_read('$py_frame', self.frame_instruction)}"
            " - $py_start);",
            f"    if ($py_owner != {self.owner_generator} && $py_position < {first}) {{",
            "        $py_code = (uint64)0;",
            "    }",
            "}",
            f"$py_frame = {_read('$py_frame', self.frame_previous)};",
        ]

    def masked(self) -> str:
        mask = self.reference_mask
        return "" if mask == 2**64 - 1 else f" & (uint64)0x{mask & (1 << 47) - 1:x}"

    def number(self) -> list[str]:
        """$py_fn: the number of $py_code, and its entry in @where at the first sight of it."""
        return [
            "$py_fn = (uint64)0;",
            "if ($py_code != 0) {",
            f"    $py_fn = ($py_code >> 4) | (((uint64){self.co_version()} & 0xfffff) << 43);",
            f"    if ({WHERE}[$py_fn].2 == 0) {{",
            f"        $py_q = {_read('$py_code', self.code_qualname)};",
            f"        $py_f = {_read('$py_code', self.code_filename)};",
            *_indented(self.text("$py_q", 0), 8),
            *_indented(self.text("$py_f", FILE_TEXT), 8),
            f"        {WHERE}[$py_fn] = (str(uptr($py_q)), str(uptr($py_f)),"
            f" (uint64){_read('$py_code', self.code_first_line, 'uint32')});",
            "    }",
            "}",
        ]

    def co_version(self) -> str:
        return _read("$py_code", self.code_version, "uint32")

    def text(self, variable: str, key: int) -> list[str]:
        """From a str object's address to that of its ASCII characters.

        If it has others, or more than bpftrace reads, its words are kept, and it is as an
        empty text: the highest byte of its length.
        """
        state = _read(variable, self.str_state, "uint32")
        length = _read(variable, self.str_length)
        size = f"({state} & {self.str_kind}) / {self.str_kind & -self.str_kind}"
        return [
            f"$py_text = {variable} + {self.str_data};",
            "$py_fits = 0;",
            f"if (({state} & {self.str_ascii}) != 0) {{",
            f"    $py_text = {variable} + {self.str_data_ascii};",
            f"    if ({length} < {script.text_size(self.version)}) {{",
            "        $py_fits = 1;",
            "    }",
            "}",
            "if ($py_fits == 1) {",
            f"    {variable} = $py_text;",
            "} else {",
            f"    {TEXTS}[$py_fn, {key}] ="
            f" ((uint64)({size}), (uint64){length}, (uint64)0, (uint64)0);",
            *self.words("$py_text", key),
            f"    {variable} = {variable} + {self.str_length + 7};",
            "}",
        ]

    def words(self, variable: str, key: int) -> list[str]:
        """Four in a value: newer versions check each change of a map, at a cost in code."""
        at = [8 * i for i in range(TEXT_WORDS)]
        four = [
            [_read(variable, offset) for offset in at[i : i + 4]] for i in range(0, TEXT_WORDS, 4)
        ]
        return [
            f"    {TEXTS}[$py_fn, {key + n}] = ({', '.join(reads)});"
            for n, reads in enumerate(four, 1)
        ]

    def function(self, variable: str) -> str:
        lines = [
            *self.current_frame(),
            "$py_code = (uint64)0;",
            "$py_i = 0;",
            f"while ($py_i < {LEAF_FRAMES} && $py_frame != 0 && $py_code == 0) {{",
            *_indented(self.code_of_frame(), 4),
            "    $py_i++;",
            "}",
            *self.number(),
            f"{variable} = $py_fn;",
        ]
        return "\n    ".join(lines)

    def stack(self, variable: str) -> str:
        """Two walks: one for the number, and one at its first sight for what it stands for."""
        step = "$py_code >> 4 ^ ((uint64)" + self.co_version() + " << 43)"
        lines = [
            *self.current_frame(),
            "$py_first = $py_frame;",
            "$py_code = (uint64)0;",
            f"{variable} = (uint64)0;",
            "$py_i = 0;",
            f"while ($py_i < {STACK_FRAMES} && $py_frame != 0) {{",
            *_indented(self.code_of_frame(), 4),
            "    if ($py_code != 0) {",
            f"        {variable} = ({variable} * 31 + ({step})) & 0x7fffffffffffffff;",
            "    }",
            "    $py_i++;",
            "}",
            f"if ({variable} != 0 && {STACKS}[{variable}, 0] == 0) {{",
            "    $py_frame = $py_first;",
            "    $py_i = 0;",
            "    $py_depth = 0;",
            f"    while ($py_i < {STACK_FRAMES} && $py_frame != 0) {{",
            *_indented(self.code_of_frame(), 8),
            *_indented(self.number(), 8),
            "        if ($py_fn != 0) {",
            f"            {STACKS}[{variable}, $py_depth] = $py_fn;",
            "            $py_depth++;",
            "        }",
            "        $py_i++;",
            "    }",
            "    if ($py_frame != 0) {",
            f"        {STACKS}[{variable}, {CUT}] = (uint64)1;",
            "    }",
            "}",
        ]
        return "\n    ".join(lines)


def _read(address: str, offset: int, kind: str = "uint64") -> str:
    where = address if offset == 0 else f"{address} {'+' if offset > 0 else '-'} {abs(offset)}"
    return f"*({kind} *)uptr({where})"


def _indented(lines: list[str], width: int) -> list[str]:
    return [" " * width + line for line in lines]
