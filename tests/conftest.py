"""What every test shares: the interpreters under test, and the tracer tests' count.

`make test` names the interpreters in PYUSDT_PYTHONS, separated by ":"; each has
its extension built in the checkout.  Without it, the one that runs pytest.
"""

import functools
import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import runner

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
# For the programs under test alone, not for tracers: NAME=VALUE... as in a shell.
# `make sanitize` has its runtimes loaded so.
PROGRAM_ENV = dict(
    word.split("=", 1) for word in shlex.split(os.environ.get("PYUSDT_PROGRAM_ENV", ""))
)


@dataclass(frozen=True)
class Interpreter:
    """A CPython under test."""

    path: str
    version: tuple[int, int, int]
    lib: str  # its libpyusdt.so
    probes: dict[str, str]  # name: shape, of src/probes.h

    def env(self, **extra: str) -> dict[str, str]:
        """The environment for a program that can import pyusdt from the checkout."""
        others = ("PYUSDT_", "PYTEST_", "PYTHON")
        env = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        env.update(PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1", **PROGRAM_ENV)
        env.update(extra)
        return env

    def run(self, *args: str, timeout: float = 60, **kwargs) -> subprocess.CompletedProcess:
        """Runs it to its end; text output is captured."""
        kwargs.setdefault("env", self.env())
        kwargs.setdefault("text", True)
        return subprocess.run(
            [self.path, *args], capture_output=True, timeout=timeout, check=False, **kwargs
        )


def _interpreter(path: str) -> Interpreter:
    code = (
        "import json, sys, pyusdt\n"
        "probes = {name: shape for name, _, shape, _ in pyusdt.probes()}\n"
        "print(json.dumps([list(sys.version_info[:3]), pyusdt.lib, probes]))"
    )
    found = subprocess.run(
        [path, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **PROGRAM_ENV},
    )
    if found.returncode != 0:
        raise pytest.UsageError(f"{path} cannot import pyusdt: {found.stderr.strip()}")
    version, lib, probes = json.loads(found.stdout)
    return Interpreter(path, tuple(version), lib, probes)


INTERPRETERS = [
    _interpreter(path)
    for path in os.environ.get("PYUSDT_PYTHONS", sys.executable).split(":")
    if path
]


@pytest.fixture(params=INTERPRETERS, ids=lambda i: ".".join(map(str, i.version)), scope="session")
def python(request) -> Interpreter:
    return request.param


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """Programs started from a shell's background job would ignore SIGINT."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


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
