"""Starts the program to be traced, held before its first line until the tracer counts.

`python -m pyusdt --gate=FD ...` has loaded the library, and set the program up, when
it writes one byte into the socket FD; it goes on when it reads one, or at its end.

Under sudo the program runs as the user who typed it, not as root.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys

from .errors import Failure, Usage

# Options of python that take the next word.
_WITH_VALUE = {"-X", "-W", "--check-hash-based-pycs"}


def python_command(words: list[str], gate: int) -> list[str]:
    """The command that runs what was typed after `--`.

    That is what `python -m pyusdt` takes, or `python` itself with its options, or the
    name of a Python program on PATH, as pip installs them.
    """
    if not words:
        raise Usage("no program after --; type: -- script.py, or -- -m module")
    name = os.path.basename(words[0])
    ours = ["-m", "pyusdt", f"--gate={gate}"]
    if name.startswith("python") and not name.removeprefix("python").strip("0123456789.t"):
        options, rest = _python_options(words[1:])
        return [words[0], *options, *ours, *rest]
    if words[0].startswith("-") or os.path.exists(words[0]):
        return [sys.executable, *ours, *words]
    found = shutil.which(words[0])
    if found is None:
        raise Failure(f"there is no file {words[0]}, and no such program on PATH")
    return [_interpreter_of(found), *ours, found, *words[1:]]


def _python_options(words: list[str]) -> tuple[list[str], list[str]]:
    """Python's own options, and what it is to run."""
    rest = list(words)
    options: list[str] = []
    while rest and rest[0].startswith("-") and rest[0] != "-" and rest[0][:2] not in ("-m", "-c"):
        options.append(rest.pop(0))
        if options[-1] in _WITH_VALUE and rest:
            options.append(rest.pop(0))
    if rest[:2] == ["-m", "pyusdt"]:
        del rest[:2]
    return options, rest


def _interpreter_of(path: str) -> str:
    with open(path, "rb") as file:
        line = file.readline(4096)
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [shutil.which(word) or word for word in words[1:] if not word.startswith("-")]
    if not words or "python" not in os.path.basename(words[0]):
        raise Failure(f"{path} is not a Python program; type: -- script.py, or -- -m module")
    return words[0]


class Identity:
    """Who the program runs as: the user behind sudo, else the caller."""

    def __init__(self) -> None:
        self.uid: int | None = None
        if os.geteuid() != 0 or not os.environ.get("SUDO_UID", "").isdigit():
            return
        uid = int(os.environ["SUDO_UID"])
        if uid == 0:
            return
        self.uid = uid
        gid = os.environ.get("SUDO_GID", "")
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            entry = None
        self.gid = int(gid) if gid.isdigit() else entry.pw_gid if entry else uid
        self.groups = os.getgrouplist(entry.pw_name, self.gid) if entry else [self.gid]
        self.home = entry.pw_dir if entry else "/"
        self.name = entry.pw_name if entry else os.environ.get("SUDO_USER", str(uid))

    def environment(self, extra: dict[str, str]) -> dict[str, str]:
        env = {**os.environ, **extra}
        if self.uid is not None:
            env = {name: value for name, value in env.items() if not name.startswith("SUDO_")}
            env.update(HOME=self.home, USER=self.name, LOGNAME=self.name)
        return env


class Program:
    """The program, held at its gate.  pid is its process from the start."""

    def __init__(self, words: list[str], settings: dict[str, str]):
        self.gate, its = socket.socketpair()
        command = python_command(words, its.fileno())
        who = Identity()
        try:
            self.process = subprocess.Popen(
                command,
                pass_fds=[its.fileno()],
                env=who.environment(settings),
                user=who.uid,
                group=who.gid if who.uid is not None else None,
                extra_groups=who.groups if who.uid is not None else None,
            )
        except OSError as error:
            raise Failure(f"cannot run {command[0]}: {error.strerror}") from error
        finally:
            its.close()
        self.pid = self.process.pid

    def is_ready(self, seconds: float) -> bool:
        """Whether it has loaded the library and waits; False too if it has ended."""
        self.gate.settimeout(seconds)
        try:
            return self.gate.recv(1) == b"1"
        except TimeoutError:
            return False
        except OSError:
            return False

    def go(self) -> None:
        """Opens the gate."""
        with contextlib.suppress(OSError):
            self.gate.send(b"1")
        self.gate.close()

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def exit_code(self) -> int:
        """As a shell has it: 128 + the signal that ended it."""
        code = self.process.wait()
        return 128 - code if code < 0 else code

    def signal(self, number: int) -> None:
        if not self.has_ended:
            self.process.send_signal(number)

    def has_terminal(self) -> bool:
        """Whether a Ctrl-C in the terminal reaches it by itself."""
        try:
            with open("/dev/tty", "rb") as tty:
                return os.tcgetpgrp(tty.fileno()) == os.getpgrp()
        except OSError:
            return False

    def end(self) -> None:
        """Ends it, because nothing will be traced.  Closing the gate would let it go on."""
        if not self.has_ended:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.gate.close()
