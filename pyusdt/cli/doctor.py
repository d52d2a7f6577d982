"""pyusdt doctor: everything that tracing needs, each one line, with its cure."""

import argparse
import gzip
import os
import platform
import re
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyusdt.process import ProcessError

from . import bpftrace, elf, library, options, script, targets
from .errors import Failure

DESCRIPTION = """\
Check what tracing needs: kernel, tracefs, permissions, bpftrace, the library, and with
-p a process.  Each check is one line, `ok` or `FAIL` with its cure.  Exit code 1 if any
fails.
"""
EXAMPLES = """\
examples:
  sudo pyusdt doctor
  sudo pyusdt doctor -p 4711
"""
OLDEST_KERNEL = (4, 20)  # semaphores by the kernel itself
CAPABILITIES = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
CONFIG = ("CONFIG_UPROBES", "CONFIG_UPROBE_EVENTS", "CONFIG_BPF_SYSCALL", "CONFIG_BPF_EVENTS")


@dataclass(frozen=True)
class Check:
    """cure: what to do; empty if all is well."""

    name: str
    found: str
    cure: str = ""

    def line(self) -> str:
        if self.cure:
            return f"FAIL  {self.name}: {self.found}; {self.cure}"
        return f"ok    {self.name}: {self.found}"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "doctor",
        help="check what tracing needs, and say the cure",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=options.Formatter,
    )
    options.add_pid(parser, "check this process, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    failed = False
    for check in checks(args.pid):
        print(check.line(), flush=True)
        failed = failed or bool(check.cure)
    return 1 if failed else 0


def checks(pid: int | None) -> Iterator[Check]:
    yield kernel()
    yield config()
    yield lockdown()
    yield root()
    yield paranoid()
    yield tracefs()
    yield memlock()
    yield ptrace()
    installed = tracer()
    yield installed
    ours = built()
    yield ours
    if not installed.cure and not ours.cure and os.geteuid() == 0:
        yield attach()
    if pid is not None:
        yield from one_process(pid)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _release() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def kernel() -> Check:
    found = f"Linux {platform.release()} on {platform.machine()}"
    if _release() < OLDEST_KERNEL:
        return Check("kernel", found, "it is too old: use Linux 4.20 or newer (5.9 is better)")
    return Check("kernel", found)


def _config_text() -> str | None:
    try:
        with gzip.open("/proc/config.gz", "rt") as file:
            return file.read()
    except OSError:
        return _read(f"/boot/config-{platform.release()}")


def config() -> Check:
    text = _config_text()
    if text is None:
        if Path("/sys/bus/event_source/devices/uprobe").exists():
            return Check("kernel config", "not readable, but uprobes are there")
        return Check(
            "kernel config",
            "not readable, and /sys/bus/event_source/devices/uprobe is missing",
            "use a kernel with CONFIG_UPROBE_EVENTS=y, and mount /sys in this container",
        )
    missing = [name for name in CONFIG if f"\n{name}=y" not in "\n" + text]
    if missing:
        return Check("kernel config", f"without {', '.join(missing)}", "use a kernel with them")
    return Check("kernel config", "uprobes and BPF are on")


def lockdown() -> Check:
    text = _read("/sys/kernel/security/lockdown")
    found = re.search(r"\[(\w+)\]", text or "")
    mode = found[1] if found else "none"
    if mode == "confidentiality":
        return Check(
            "lockdown",
            "the kernel is locked down (confidentiality): BPF may not read memory",
            "boot with lockdown=integrity or none, or switch Secure Boot off",
        )
    return Check("lockdown", mode)


def _has(name: str) -> bool:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", _read("/proc/self/status") or "", re.MULTILINE)
    return bool(found and int(found[1], 16) >> CAPABILITIES[name] & 1)


def _is_privileged() -> bool:
    return os.geteuid() == 0 and (
        _has("CAP_SYS_ADMIN") or (_has("CAP_BPF") and _has("CAP_PERFMON"))
    )


def root() -> Check:
    if os.geteuid() != 0:
        return Check("root", f"uid {os.geteuid()}", "bpftrace needs root: sudo pyusdt doctor")
    if not _is_privileged():
        return Check(
            "root",
            "without CAP_SYS_ADMIN, as in a container",
            "trace from the host, or run the container with --privileged --pid=host",
        )
    return Check("root", "with CAP_SYS_ADMIN or CAP_BPF and CAP_PERFMON")


def paranoid() -> Check:
    text = _read("/proc/sys/kernel/perf_event_paranoid")
    if text is None:
        return Check(
            "perf_event_paranoid",
            "/proc/sys/kernel/perf_event_paranoid is missing",
            "use a kernel with CONFIG_PERF_EVENTS=y",
        )
    if not text.lstrip("-").isdigit() or int(text) < 0 or _is_privileged():
        return Check("perf_event_paranoid", f"{text}{', no matter for root' * (text != '-1')}")
    return Check(
        "perf_event_paranoid",
        f"{text} forbids probes to who is not root",
        "use sudo, or sudo sysctl kernel.perf_event_paranoid=-1",
    )


def tracefs() -> Check:
    mounts = [line.split() for line in (_read("/proc/self/mounts") or "").split("\n")]
    places = [words[1] for words in mounts if len(words) > 2 and words[2] == "tracefs"]
    if not places:
        return Check("tracefs", "not mounted", "sudo mount -t tracefs tracefs /sys/kernel/tracing")
    return Check("tracefs", f"mounted on {places[0]}")


def memlock() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft // 1024} kB"
    if soft == resource.RLIM_INFINITY or soft >= 8 << 20 or _release() >= (5, 11):
        more = "" if limit == "unlimited" else ", no matter for BPF since Linux 5.11"
        return Check("memlock", limit + (more if _release() >= (5, 11) else ""))
    return Check("memlock", limit, "too little for BPF maps: ulimit -l unlimited")


def ptrace() -> Check:
    text = _read("/proc/sys/kernel/yama/ptrace_scope")
    if text is None:
        return Check("ptrace_scope", "no Yama: processes of one user may be read")
    if text == "3":
        return Check(
            "ptrace_scope", "3: no process may be read, not even by root", "reboot with a lower one"
        )
    if text != "0" and not _has("CAP_SYS_PTRACE"):
        return Check(
            "ptrace_scope", f"{text}: other processes cannot be read", "use sudo pyusdt ..."
        )
    return Check("ptrace_scope", text)


def tracer() -> Check:
    try:
        have = bpftrace.version()
        return Check("bpftrace", f"{have[0]}.{have[1]}, {bpftrace.path()}")
    except Failure as error:
        found, _, cure = str(error).partition("; ")
        return Check("bpftrace", found, cure or "install it again")


def built() -> Check:
    path = library.path()
    try:
        probes = elf.probes(path)
    except (OSError, ValueError) as error:
        return Check("library", f"{path}: {error}", "build it again: make, or pip install pyusdt")
    if not probes:
        return Check("library", f"{path} has no probes", "build it again, and do not strip it")
    return Check("library", f"{path}, {len({p.name for p in probes})} probes")


def attach() -> Check:
    """A probe, for a moment: what the checks above cannot foresee."""
    text = script.rewrite(
        "usdt::pyusdt:INSTRUCTION { @ = count(); }",
        script.Form(bpftrace.version(), platform.machine(), str(library.path()), os.getpid()),
    )
    try:
        done = subprocess.run(
            [bpftrace.path(), "-e", text + " interval:ms:1 { exit(); }"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("attach", "bpftrace did not end within 60 seconds", "look into dmesg")
    if done.returncode == 0:
        return Check("attach", "a probe was attached and detached")
    lines = [line for line in (done.stderr + done.stdout).split("\n") if "MEMLOCK" not in line]
    said = " ".join(" ".join(lines).split())[:300]
    return Check("attach", f"bpftrace says: {said}", "the checks above, or dmesg, may say why")


def one_process(pid: int) -> Iterator[Check]:
    try:
        found = targets.by_pid(pid)
    except Failure as error:
        said, _, cure = str(error).partition("; ")
        yield Check("process", said, cure or "`pyusdt ps` lists those that can be traced")
        return
    where = f" (other namespaces: {', '.join(found.namespaces)})" if found.namespaces else ""
    yield Check("process", f"{pid} has loaded {found.library}{where}")
    try:
        raised = found.raised()
    except (ProcessError, Failure):
        yield Check("process memory", "may not be read", "use sudo pyusdt ...")
    else:
        yield Check("process memory", f"readable; {len(raised)} probes are traced now")
    disabled = b"PYUSDT_DISABLE=1" in _environment(pid)
    if disabled:
        yield Check(
            "settings", "PYUSDT_DISABLE=1 is set in it", "start it without, or nothing will fire"
        )


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
