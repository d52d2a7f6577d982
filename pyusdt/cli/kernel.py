"""What numbers of the kernel mean: system calls, states of a task, files.

A tool's keys that are called so (see script.keys_of) are shown in words.  Pure.
"""

import ipaddress
from typing import Any

from . import syscalls
from .decode import bytes_of

# {file: (descriptor, name, family, port, address, its second half)}; see tools/pyio.bt.
FILES = "@file"
_UNIX, _INET, _INET6 = 1, 2, 10  # AF_*

# From the kernel's linux/sched.h; 0 and 256 are those of a task that could go on.
_STATES = {0: "runnable", 1: "sleep", 2: "disk", 4: "stopped", 8: "traced", 256: "runnable"}


def word(name: str, value: int | str) -> int | str:
    """The value of a column in words, if there is one."""
    if not isinstance(value, int):
        return value
    if name == "syscall":
        return syscalls.name_of(value) if value >= 0 else {-2: "?"}.get(value, "-")
    if name == "state":
        return _STATES.get(value, _STATES.get(value & 0xFF & -(value & 0xFF), str(value)))
    if name == "lock":
        return hex(value & (1 << 64) - 1)
    return value


def file(number: int | str, entry: Any) -> dict[str, Any]:
    """Columns of a file: its descriptor and what it is.  number: inode << 16 | descriptor."""
    if not isinstance(entry, list) or not isinstance(number, int):
        return {"fd": None, "target": "?"}
    inode = (number & (1 << 64) - 1) >> 16
    descriptor, name, family, port, *words = entry
    if family in (_INET, _INET6):
        name = _socket(family, port, words)
    elif family == _UNIX:
        name = "unix socket"
    elif not name:
        name = f"{'socket' if family else 'pipe'}:[{inode}]"
    return {"fd": descriptor, "target": name}


def _socket(family: int, port: int, words: list[int]) -> str:
    """The peer of an internet socket, or that there is none.  words: its address, as it
    lies in memory."""
    data = bytes_of(words)
    if not any(data):
        return f"socket, port {port}" if port else "socket"
    if family == _INET:
        return f"{ipaddress.IPv4Address(data[:4])}:{port}"
    peer = ipaddress.IPv6Address(data)
    return f"{peer.ipv4_mapped}:{port}" if peer.ipv4_mapped else f"[{peer}]:{port}"
