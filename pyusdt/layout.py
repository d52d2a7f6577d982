"""The layout block of a process: what a stack walker must know of its interpreter.

What each field means, and how a stack is walked with it, is told in src/layout.h.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any

from .process import Process, ProcessError

__all__ = ["FIELDS", "FREE_THREADED", "MAGIC", "READY", "SIZE", "VERSION", "fields", "read"]

MAGIC = b"PyLayout"
VERSION = 1
READY = 1  # flags
FREE_THREADED = 2

# (name, struct format) in the order of struct pyusdt_layout.
FIELDS = (
    ("magic", "8s"),
    ("version", "I"),
    ("size", "I"),
    ("python", "I"),
    ("built_for", "I"),
    ("flags", "I"),
    ("slot_steps", "I"),
    ("slot_offsets", "3q"),
    ("runtime", "Q"),
    ("runtime_interpreters", "i"),
    ("interp_next", "i"),
    ("interp_id", "i"),
    ("interp_threads", "i"),
    ("thread_next", "i"),
    ("thread_interp", "i"),
    ("thread_id", "i"),
    ("thread_native_id", "i"),
    ("thread_frame", "i"),
    ("thread_frame_2", "i"),
    ("frame_code", "i"),
    ("frame_previous", "i"),
    ("frame_instruction", "i"),
    ("frame_owner", "i"),
    ("frame_locals", "i"),
    ("frame_copy", "i"),
    ("reference_mask", "Q"),
    ("owner_generator", "i"),
    ("owner_interpreter", "i"),
    ("code_first_line", "i"),
    ("code_filename", "i"),
    ("code_name", "i"),
    ("code_qualname", "i"),
    ("code_linetable", "i"),
    ("code_bytecode", "i"),
    ("code_first_traceable", "i"),
    ("code_version", "i"),
    ("code_copies", "i"),
    ("copies_entries", "i"),
    ("str_length", "i"),
    ("str_state", "i"),
    ("str_kind", "I"),
    ("str_ascii", "I"),
    ("str_data_ascii", "i"),
    ("str_data", "i"),
    ("bytes_size", "i"),
    ("bytes_data", "i"),
)

_BLOCK = struct.Struct("<" + "".join(code for _, code in FIELDS))
_HEAD = struct.Struct("<8sII")
SIZE = _BLOCK.size


def fields(process: Process) -> dict[str, Any]:
    """As read(), of an open process."""
    address = process.symbol("pyusdt_layout")
    magic, version, size = _HEAD.unpack(process.read(address, _HEAD.size))
    where = f"process {process.pid}"
    if magic != MAGIC:
        raise ProcessError(f"{where} has no layout block at pyusdt_layout; is its pyusdt ours?")
    if (version, size) != (VERSION, SIZE):
        raise ProcessError(
            f"{where} has a layout block of version {version}, {size} bytes, this is "
            f"version {VERSION}, {SIZE} bytes: use the pyusdt of the process's own Python"
        )
    words = iter(_BLOCK.unpack(process.read(address, SIZE))[1:])
    found: dict[str, Any] = {}
    for name, code in FIELDS[1:]:
        found[name] = tuple(itertools.islice(words, 3)) if code == "3q" else next(words)
    if not found["flags"] & READY:
        raise ProcessError(f"{where} is still importing pyusdt; try again")
    return found


def read(pid: int) -> dict[str, Any]:
    """The fields of a process's layout block by their names, without the magic: ints, and
    slot_offsets as a tuple of three. ProcessError, one line, if there is none to read."""
    with Process(pid) as process:
        return fields(process)
