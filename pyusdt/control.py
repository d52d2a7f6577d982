"""Changes the settings of another process, by the control block of its libpyusdt.

src/control.h draws the block and tells the rules. Whoever may ptrace the process may do
it, and nobody else.
"""

from __future__ import annotations

import struct
import time

from .process import Process, ProcessError

__all__ = ["NUMBERS", "PATTERNS", "configure", "settings"]

# Name: (smallest, largest value), as src/config.c has them.
NUMBERS = {
    "check_msec": (1, 60000),
    "value_max": (16, 4096),
    "slow_usec": (0, 3600000000),
}
PATTERNS = ("include", "exclude")
_PATTERNS_SIZE = 2048  # with the final NUL

_START_SECONDS = 2.0
_BUSY_SECONDS = 30.0

_BLOCK = struct.Struct(f"<8s II IIII qqq {_PATTERNS_SIZE}s {_PATTERNS_SIZE}s")
_SETTINGS = struct.Struct(f"<qqq {_PATTERNS_SIZE}s {_PATTERNS_SIZE}s")
_SETTINGS_AT = _BLOCK.size - _SETTINGS.size
_MAGIC, _VERSION = b"pyusdtCB", 1
_REQUEST_AT, _APPLIED_AT, _REFUSED_AT = 16, 20, 24


class _Block:
    """The block of an open process, found and checked."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.address = process.symbol("pyusdt_control")
        magic, version, size = struct.unpack("<8s II", process.read(self.address, 16))
        if magic != _MAGIC:
            raise ProcessError(f"the libpyusdt of process {process.pid} has no control block")
        if version != _VERSION or size != _BLOCK.size:
            raise ProcessError(
                f"the libpyusdt of process {process.pid} has version {version} of the control "
                f"block, this is for version {_VERSION}: use its own pyusdt command"
            )

    def number(self, at: int) -> int:
        return int.from_bytes(self.process.read(self.address + at, 4), "little")

    def set_number(self, at: int, value: int) -> None:
        self.process.write(self.address + at, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def settings(self) -> dict[str, int | str]:
        words = _SETTINGS.unpack(self.process.read(self.address + _SETTINGS_AT, _SETTINGS.size))
        texts = [bytes(word).partition(b"\0")[0].decode("utf-8", "replace") for word in words[3:]]
        return dict(zip([*NUMBERS, *PATTERNS], [*words[:3], *texts], strict=True))

    def write_settings(self, wanted: dict[str, int | str]) -> None:
        words = [value.encode() if isinstance(value, str) else value for value in wanted.values()]
        self.process.write(self.address + _SETTINGS_AT, _SETTINGS.pack(*words))

    def serving(self) -> bool:
        return self.number(28) != 0


def _check(name: str, value: int | str) -> None:
    """ValueError, in one line, for what the library would refuse."""
    if name in NUMBERS:
        smallest, largest = NUMBERS[name]
        if not isinstance(value, int) or not smallest <= value <= largest:
            raise ValueError(f"{name}: give a whole number from {smallest} to {largest}")
    elif name in PATTERNS and isinstance(value, str):
        if len(value.encode("utf-8", "surrogateescape")) >= _PATTERNS_SIZE:
            raise ValueError(f"{name}: the patterns are longer than {_PATTERNS_SIZE - 1} bytes")
        if not value.isprintable():
            raise ValueError(f"{name}: the patterns have a control character or are not UTF-8")
    else:
        raise ValueError(f"there is no setting {name}")


def settings(pid: int) -> dict[str, int | str]:
    """The settings in force in a process. ProcessError if it cannot be read."""
    with Process(pid) as process:
        block = _Block(process)
        # None yet, perhaps: it imports pyusdt right now.
        end = time.monotonic() + _START_SECONDS
        while (found := block.settings())["check_msec"] == 0:
            if time.monotonic() > end:
                raise ProcessError(f"process {pid} has not yet imported pyusdt; try again")
            time.sleep(0.005)
        return found


def configure(pid: int, **changes: int | str) -> dict[str, int | str]:
    """Changes settings of a process and returns all, when they are in force there.

    ValueError for a bad value, ProcessError for a process that cannot be changed or does
    not take the settings in time; nothing is written before all is checked.
    """
    for name, value in changes.items():
        _check(name, value)
    with Process(pid, write=True) as process:
        block = _Block(process)
        _check_runs(process)
        # Not yet, perhaps: it imports pyusdt right now, or has just been forked.
        end = time.monotonic() + _START_SECONDS
        while not block.serving():
            if time.monotonic() > end:
                raise ProcessError(
                    f"process {pid} takes no settings: PYUSDT_DISABLE is set, or it is ending"
                )
            time.sleep(0.005)
        # Two looks of the watcher, and some for a busy machine.
        end = time.monotonic() + 2 * int(block.settings()["check_msec"]) / 1000 + _BUSY_SECONDS
        request = block.number(_REQUEST_AT)
        while request % 2 != 0 or request != block.number(_APPLIED_AT):
            _wait(process, end)
            request = block.number(_REQUEST_AT)
        wanted = {**block.settings(), **changes}
        block.set_number(_REQUEST_AT, request + 1)
        block.write_settings(wanted)
        block.set_number(_REQUEST_AT, request + 2)
        # Until it is applied, or a later one: numbers that start again at 0.
        while (block.number(_APPLIED_AT) - request - 2) & 0x80000000:
            _wait(process, end)
        refused = block.number(_REFUSED_AT)
        names = [name for i, name in enumerate(wanted) if refused >> i & 1]
        if names:
            raise ProcessError(f"process {pid} has refused {', '.join(names)}")
        return block.settings()


def _check_runs(process: Process) -> None:
    if process.is_stopped():
        raise ProcessError(
            f"process {process.pid} is stopped and takes no settings; let it go on: "
            f"kill -CONT {process.pid}"
        )


def _wait(process: Process, end: float) -> None:
    _check_runs(process)
    if time.monotonic() > end:
        raise ProcessError(f"process {process.pid} takes no settings: it is too busy; try again")
    time.sleep(0.005)
