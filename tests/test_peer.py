"""The peer's own scripts, from its release, run against our library.

PyPI's pyusdt 0.1.1 is what our users come from: its bpftrace script must print
what it printed, and its tests must see what they saw, but for the differences
that the README lists.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from conftest import PACKAGE_ROOT, ROOT, needs_tracer
from tracer import Bpftrace

pytestmark = needs_tracer

PEER = "pyusdt==0.1.1"

PROGRAM = """
import time
time.sleep(1.5)  # the peer notices a tracer after a while; both get the time

def add(a, b):
    return a + b

def numbers(n):
    for i in range(n):
        yield i

class Thing:
    def name(self):
        return "thing"

def main():
    total = 0
    for n in numbers(3):
        total = add(total, n)
    Thing().name()
    len([1, 2])
    return [total, None, 1.5, {"a": (1, 2)}]

main()
"""


@pytest.fixture(scope="module")
def source(pip, tmp_path_factory):
    """The peer's source release, unpacked."""
    where = tmp_path_factory.mktemp("peer-source")
    pip("install", "setuptools", "wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-binary=:all:", "-d", str(where)]
    pip("download", *options, PEER)
    archive = next(where.glob("pyusdt-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(where, filter="data")
    return next(path for path in where.glob("pyusdt-*") if path.is_dir())


def workplace(where, source, lib, package):
    """A directory laid out as the peer's checkout: its scripts, some library and package."""
    shutil.copytree(source / "tests", where / "tests")
    shutil.copy(source / "sample.bt", where)
    shutil.copy(ROOT / "sleep.py", where)
    (where / "libpyusdt.so").symlink_to(lib)
    for path in package:
        (where / path.name).symlink_to(path)
    (where / "program.py").write_text(PROGRAM)
    bin_dir = where / "bin"
    bin_dir.mkdir()
    (bin_dir / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (bin_dir / "sudo").chmod(0o755)
    return where


@pytest.fixture
def short_path():
    """A directory whose name fits into a string of 64 bytes."""
    with tempfile.TemporaryDirectory(prefix="peer-") as where:
        yield Path(where)


@pytest.fixture
def ours(python, source, short_path):
    where = short_path / "ours"
    where.mkdir()
    return workplace(where, source, os.path.realpath(python.lib), [PACKAGE_ROOT / "pyusdt"])


@pytest.fixture
def theirs(pip, source, short_path):
    where = short_path / "theirs"
    where.mkdir()
    site = short_path / "site"
    pip("install", "--no-deps", "--target", str(site), PEER)
    lib = next(site.glob("libpyusdt*.so"))
    return workplace(where, source, str(lib), [site / "pyusdt", lib])


def environment(python, where):
    env = {**python.env(), "PYTHONPATH": "."}
    env["PATH"] = f"{where / 'bin'}:{env['PATH']}"
    return env


def sample_lines(python, where):
    """What the peer's sample.bt prints of the program's own functions."""
    script = (where / "sample.bt").read_text()
    # As a user has it: strings of 64 bytes.
    with Bpftrace(script, ready=False, strlen=None, cwd=where) as trace:
        trace.wait_for("EVENT")
        done = subprocess.run(
            [python.path, "-m", "pyusdt", "program.py"],
            env=environment(python, where),
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    lines = [line for line in trace.lines if re.search(r"\bprogram\.py\b", line)]
    lines = [re.sub(r"0x[0-9a-f]+", "0x", line) for line in lines]
    # From the first call of main() on: both are there by then.
    start = next(i for i, line in enumerate(lines) if re.match(r"PY_START +main ", line))
    end = max(i for i, line in enumerate(lines) if re.match(r"PY_RETURN +main ", line))
    # The path is as each runner has it: relative or absolute.
    return [re.sub(r"\S*program\.py\s*", "program.py ", line) for line in lines[start : end + 1]]


def test_sample(python, ours, theirs):
    expected = sample_lines(python, theirs)
    assert len(expected) > 30
    assert sample_lines(python, ours) == expected


@pytest.mark.parametrize(
    ("script", "env"),
    [
        ("probe.py", {}),
        ("test_events.py", {}),
        ("test_missing.py", {}),
        # Looks for the peer's messages on stderr, which we give on demand.
        ("test_dynamic_callbacks.py", {"PYUSDT_VERBOSE": "1"}),
    ],
)
def test_its_tests(python, ours, script, env):
    done = subprocess.run(
        [python.path, f"tests/{script}"],
        env={**environment(python, ours), **env},
        cwd=ours,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_differs_on_purpose(python, ours):
    """Its load.py wants the profiler's tool id held for ever; we hold one only while traced."""
    done = subprocess.run(
        [python.path, "tests/load.py"],
        env=environment(python, ours),
        cwd=ours,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "✓ pyusdt module imported successfully" in done.stdout
    assert "✗ Expected 'pyusdt-profiling', got: None" in done.stdout
    assert done.stderr == ""
