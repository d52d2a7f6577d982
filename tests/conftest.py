"""What every test shares: the interpreters under test, and the tracer tests' count.

`make test` names the interpreters in PYUSDT_PYTHONS, separated by ":"; each has
its extension built in the checkout.  Without it, the one that runs pytest.
"""

import contextlib
import fcntl
import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import runner
from tracer import why_not
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
# For the programs under test alone, not for tracers: NAME=VALUE... as in a shell.
# `make sanitize` has its runtimes loaded so.
PROGRAM_ENV = dict(
    word.split("=", 1) for word in shlex.split(os.environ.get("PYUSDT_PROGRAM_ENV", ""))
)


def _package_root() -> Path:
    """Where pyusdt is imported from: the checkout, or this worker's own copy of it.

    A tracer attaches to a file.  So that workers which run side by side (pytest-xdist)
    do not see each other's tracers, each has a library file of its own.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return ROOT
    where = ROOT / "build" / "workers" / worker
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(ROOT / "pyusdt", where / "pyusdt")
    shutil.copytree(ROOT / "tools", where / "tools")
    return where


PACKAGE_ROOT = _package_root()


def without_library() -> None:
    """Makes the Python parts of pyusdt importable here, where nothing is to be traced."""
    if "pyusdt" not in sys.modules:
        package = types.ModuleType("pyusdt")
        package.__path__ = [str(PACKAGE_ROOT / "pyusdt")]
        package.__version__ = "0"
        sys.modules["pyusdt"] = package


# What a test needs that attaches a tracer, also as a decorator.
needs_tracer = [
    pytest.mark.tracer,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


def tracer(function):
    for mark in needs_tracer:
        function = mark(function)
    return function


@dataclass(frozen=True)
class Interpreter:
    """A CPython under test."""

    path: str
    version: tuple[int, int, int]
    lib: str  # its libpyusdt.so
    probes: dict[str, str]  # name: shape, of src/probes.h; one an event
    others: dict[str, str]  # those that are fed in another way

    @property
    def is_free_threaded(self) -> bool:
        return re.search(r"-3\d+t-", self.lib) is not None

    @property
    def turns_gil_on(self) -> bool:
        """A free-threaded 3.13 turns its GIL on, and warns of it, when it imports us."""
        return "-313t-" in self.lib

    def env(self, **extra: str) -> dict[str, str]:
        """The environment for a program that can import pyusdt."""
        others = ("PYUSDT_", "PYTEST_", "PYTHON")
        env = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        env.update(PYTHONPATH=str(PACKAGE_ROOT), PYTHONDONTWRITEBYTECODE="1", **PROGRAM_ENV)
        if self.turns_gil_on:
            env["PYTHON_GIL"] = "1"  # from the start: no warning
        env.update(extra)
        return env

    def run(self, *args: str, timeout: float = 60, **kwargs) -> subprocess.CompletedProcess:
        """Runs it to its end; text output is captured."""
        kwargs.setdefault("env", self.env())
        kwargs.setdefault("text", True)
        gil = ["-X", "gil=1"] * self.turns_gil_on  # -E and -I ignore the environment
        return subprocess.run(
            [self.path, *gil, *args], capture_output=True, timeout=timeout, check=False, **kwargs
        )


def _interpreter(path: str) -> Interpreter:
    code = (
        "import json, sys, pyusdt\n"
        "probes = {name: shape for name, event, shape, _ in pyusdt.probes() if name == event}\n"
        "others = {name: shape for name, event, shape, _ in pyusdt.probes() if name != event}\n"
        "print(json.dumps([list(sys.version_info[:3]), pyusdt.lib, probes, others]))"
    )
    found = subprocess.run(
        [path, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE_ROOT,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), **PROGRAM_ENV},
    )
    if found.returncode != 0:
        raise pytest.UsageError(f"{path} cannot import pyusdt: {found.stderr.strip()}")
    version, lib, probes, others = json.loads(found.stdout)
    return Interpreter(path, tuple(version), lib, probes, others)


INTERPRETERS = [
    _interpreter(path)
    for path in os.environ.get("PYUSDT_PYTHONS", sys.executable).split(":")
    if path
]


@pytest.fixture(params=INTERPRETERS, ids=lambda i: ".".join(map(str, i.version)), scope="session")
def python(request) -> Interpreter:
    return request.param


@pytest.fixture(autouse=True, scope="session")
def surroundings():
    """What every program that a test starts inherits."""
    os.chdir(PACKAGE_ROOT)  # `python -c` imports from the current directory first
    # Programs started from a shell's background job would ignore SIGINT.
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@contextlib.contextmanager
def _locked(path: Path):
    """One worker at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def pip(python):
    """Called with arguments: the interpreter's pip, in an environment for all the tests."""
    venv = ROOT / "build" / "pip" / Path(python.lib).name
    with _locked(venv.with_suffix(".lock")):
        if not (venv / "made").exists():
            done = python.run("-m", "venv", "--clear", str(venv), timeout=300)
            assert done.returncode == 0, done.stderr
            (venv / "made").touch()

    def run(*args: str) -> None:
        command = [venv / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check"]
        done = subprocess.run([*command, *args], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def neighbours(python, pip):
    """A directory with the libraries of requirements-neighbours.txt for the interpreter."""
    if python.turns_gil_on:
        pytest.skip("gevent, greenlet and uvloop cannot be installed in a free-threaded 3.13")
    wanted = ROOT / "tests" / "requirements-neighbours.txt"
    where = ROOT / "build" / "neighbours" / Path(python.lib).name
    installed = where / wanted.name
    with _locked(where.with_suffix(".lock")):
        if not installed.exists() or installed.read_text() != wanted.read_text():
            shutil.rmtree(where, ignore_errors=True)
            pip("install", "--target", str(where / "lib"), "-r", str(wanted))
            shutil.copy(wanted, installed)
    return str(where / "lib")


@pytest.fixture(scope="session")
def programs():
    """The programs in a directory with a short name, which bpftrace can filter by."""
    with tempfile.TemporaryDirectory(prefix="pyusdt-") as where:
        shutil.copytree(PROGRAMS, where, dirs_exist_ok=True)
        yield where + "/"


@pytest.fixture(scope="session")
def text_module(python, tmp_path_factory) -> str:
    """The directory of textmodule, which is src/text.c as a module for the interpreter."""
    where = tmp_path_factory.mktemp("text")
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    include = python.run("-c", code).stdout.strip()
    subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra"]
        + ["-Werror", *shlex.split(os.environ.get("CFLAGS", "")), "-I", include]
        + ["-I", str(ROOT / "src"), str(ROOT / "tests/c/textmodule.c")]
        + ["-o", str(where / "textmodule.so"), "-lm"],
        check=True,
    )
    return str(where)


@pytest.fixture
def kind(request, python, tmp_path):
    """Called with a source: what runs it in one of runner.KINDS (see runner.place)."""
    return functools.partial(runner.place, request.param, python, tmp_path / "work")


# ---- which worker runs what (pytest-xdist) ----

# Their fixtures take long: those of one interpreter are run by one worker.
TOGETHER = [
    "test_commands.py",
    "test_howto.py",
    "test_neighbours.py",
    "test_peer.py",
    "test_web.py",
]
# perf's events have names of the whole system: all of these by one worker.
ALONE = ["test_clients.py"]
# These take longest: when they come last, the other workers wait for them.
FIRST = ["test_storm.py", "test_clients.py"]


class Scheduling(LoadScopeScheduling):
    """Hands out single tests, but for those of TOGETHER: all of an interpreter's at once."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if Path(file).name in ALONE:
            return file
        if Path(file).name not in TOGETHER:
            return nodeid
        version = re.search(r"\d+\.\d+\.\d+", test)
        return f"{file} {version and version[0]}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in FIRST)


# ---- the closing line: how many tracer tests ran ----

_tracer_results: Counter[str] = Counter()


def pytest_runtest_logreport(report):
    if "tracer" not in report.keywords:
        return
    if report.when == "call" or report.outcome != "passed":
        _tracer_results[report.outcome] += 1


def pytest_unconfigure(config):
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    count = _tracer_results
    print(f"tracer: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")


def pytest_sessionfinish(session, exitstatus):
    # In CI a tracer test that did not run is a failure.
    if os.environ.get("CI") and _tracer_results["skipped"] and exitstatus == 0:
        session.exitstatus = 1
