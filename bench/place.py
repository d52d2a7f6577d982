"""What the benchmark needs beside itself: interpreters, environments, compiled C programs.

All of it is made under build/ of the checkout, from pinned requirements.
"""

import atexit
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from table import Refusal

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
BUILD = ROOT / "build" / "bench"
WORKLOADS = BENCH / "workloads"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def environment(**extra: str) -> dict[str, str]:
    """Of every program that is measured: nothing of the caller's Python or pyusdt in it."""
    others = ("PYUSDT_", "PYTHON", "BPFTRACE_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    return {**env, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def run(command: list, **options) -> str:
    """Its output; a failure ends the benchmark with the command's last line."""
    options.setdefault("env", environment())
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ["it says nothing"])[-1]
        raise Refusal(f"{Path(str(command[0])).name} {command[1]} failed: {last}")
    return done.stdout


@cache
def work() -> Path:
    """A directory for this run alone; it is gone afterwards."""
    BUILD.mkdir(parents=True, exist_ok=True)
    where = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    atexit.register(shutil.rmtree, where, ignore_errors=True)
    return where


def compiled(source: Path, name: str, *flags: str) -> Path:
    """The program made from one C file that includes src/usdt.h."""
    program = work() / name
    options = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    compiler = os.environ.get("CC", "cc")
    run([compiler, *options, *flags, "-I", ROOT / "src", source, "-o", program])
    return program


@cache
def ours() -> str:
    """The path of our library, built for this interpreter."""
    code = "import pyusdt; print(pyusdt.lib)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    if done.returncode != 0:
        raise Refusal(f"the extension is not built for {sys.executable}; type: make bench")
    return done.stdout.strip()


@cache
def package(name: str) -> tuple[Path, str]:
    """A copy of our package, so that one program alone has its tracer: (where it is
    imported from, its library)."""
    where = work() / name
    shutil.copytree(ROOT / "pyusdt", where / "pyusdt")
    return where, str(where / "pyusdt" / Path(ours()).name)


# ---- virtual environments ----


def _venv(name: str, requirements: Path) -> tuple[Path, dict[str, str]]:
    """(its python, {project: why it could not be installed}), made anew when out of date."""
    where = ROOT / "build" / "venv" / f"{name}-{sys.implementation.cache_tag}"
    python = where / "bin" / "python"
    installed = where / "installed.txt"
    wanted = requirements.read_text()
    if installed.exists() and installed.read_text() == wanted:
        return python, {}
    say(f"making {where.relative_to(ROOT)}")
    shutil.rmtree(where, ignore_errors=True)
    run([sys.executable, "-m", "venv", where])
    # The peer's setup.py asks the first python3-config of PATH for its flags.
    home = Path(os.path.realpath(sys.executable)).parent
    failed = {}
    for line in wanted.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        done = subprocess.run(
            [python, "-m", "pip", "-q", "install", "--disable-pip-version-check", *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment(PATH=f"{home}:{os.environ['PATH']}"),
        )
        if done.returncode != 0:
            project = words[0].split("==")[0]
            failed[project] = f"{words[0]} is not installable here"
            say(f"{failed[project]}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    if not failed:
        installed.write_text(wanted)
    return python, failed


@cache
def tools() -> tuple[Path, dict[str, str]]:
    """The environment of the other tools and of pyperformance."""
    return _venv("bench", BENCH / "requirements.txt")


@cache
def peer() -> tuple[Path, str] | None:
    """(its python, its library), or None when it cannot be built here."""
    python, failed = _venv("peer", BENCH / "requirements-peer.txt")
    if failed:
        return None
    code = "import libpyusdt; print(libpyusdt.__file__)"
    # -P: this checkout has a link of that name.
    return python, run([python, "-P", "-c", code]).strip().splitlines()[-1]


# ---- CPython 3.15, which has a probe of its own ----


@cache
def python_with_probe() -> tuple[str, list[str]] | None:
    """(its file for a tracer, the command that starts it), or None.

    Looked for where this project looks for interpreters, and in the tree that
    `make test-matrix` has made.
    """
    found = run([ROOT / "scripts" / "find-python.sh", "--all"], env=os.environ).split()
    paths = [(path, [path]) for path in [sys.executable, *found]]
    tree = Path(os.environ.get("PYUSDT_CACHE", "/var/cache/pyusdt")) / "sid"
    paths.append((f"{tree}/usr/bin/python3.15", ["chroot", str(tree), "/usr/bin/python3.15"]))
    for path, command in paths:
        notes = subprocess.run(
            ["readelf", "-n", path], capture_output=True, text=True, check=False
        ).stdout
        if "function__entry" in notes:
            return os.path.realpath(path), command
    return None


# ---- the machine ----


def busy() -> str:
    """What to add to a section of times by the clock when other programs run, too."""
    load = os.getloadavg()[0]
    if load <= 1:
        return ""
    return (
        f". The machine was busy with other things (load {load:.1f} on {os.cpu_count()} CPUs): "
        "times by the clock are longer for it, and their ratios say little"
    )


def machine() -> list[str]:
    """Lines about where this was measured."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    version = run(["bpftrace", "--version"]).strip()
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    compiler = run([os.environ.get("CC", "cc"), "--version"]).splitlines()[0]
    return [
        f"{model}, {os.cpu_count()} CPUs, {memory} MB",
        f"Linux {platform.release()} {platform.machine()}",
        f"CPython {platform.python_version()} ({platform.python_compiler()}); {compiler}",
        f"{version}; pyusdt {commit or 'of unknown commit'}",
    ]
