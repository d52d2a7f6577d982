"""The README's commands, as a user types them, in a fresh copy of the checkout."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, tracer
from tracer import Bpftrace, version

C_OPTION = (0, 27, 0)  # -c with a library that is loaded later: from this bpftrace on
ONE_LINER = (
    'usdt:./libpyusdt.so:pyusdt:PY_START { printf("%s (%s:%d)\\n", str(arg0), str(arg1), arg2); }'
)


@dataclass
class Checkout:
    """A copy of the sources, with `python` and `sudo` on PATH."""

    where: Path
    env: dict

    def run(self, *command, **kwargs):
        kwargs.setdefault("env", self.env)
        return subprocess.run(
            command, cwd=self.where, capture_output=True, text=True, check=False, **kwargs
        )

    def start(self, *command, **kwargs):
        """In another terminal."""
        kwargs.setdefault("env", self.env)
        return subprocess.Popen(command, cwd=self.where, **kwargs)


def copy_sources(where):
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:  # an exported tree
        skip = {"build", "dist", ".git"}
        names = [
            str(p.relative_to(ROOT))
            for p in ROOT.rglob("*")
            if p.is_file() and p.suffix != ".so" and not skip & set(p.relative_to(ROOT).parts)
        ]
    for name in names:
        if (ROOT / name).exists():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, where / name)


@pytest.fixture(scope="module")
def checkout(python, tmp_path_factory):
    """After `make`."""
    where = tmp_path_factory.mktemp("checkout")
    copy_sources(where)
    bin_dir = where / "path"
    bin_dir.mkdir()
    (bin_dir / "python").symlink_to(python.path)
    (bin_dir / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (bin_dir / "sudo").chmod(0o755)
    env = {k: v for k, v in python.env().items() if k != "PYTHONPATH"}
    env["PATH"] = f"{bin_dir}:{env['PATH']}"
    made = Checkout(where, env)
    done = made.run("make", f"PYTHON={python.path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 1
    assert "python" in done.stdout
    assert "libpyusdt" in done.stdout
    return made


def wait_for_library(process):
    """Until it has mapped it: before, old tracers find nothing by -p."""
    maps = Path(f"/proc/{process.pid}/maps")
    while "libpyusdt" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.01)


def stop(process):
    process.terminate()
    process.wait(30)


@tracer
def test_sample_with_a_command(checkout):
    """sudo bpftrace sample.bt -c "python -m pyusdt sleep.py" """
    script = (checkout.where / "sample.bt").read_text()
    command = ["-c", "python -m pyusdt sleep.py"]
    if version() >= C_OPTION:
        with Bpftrace(
            script, *command, ready=False, strlen=None, cwd=checkout.where, env=checkout.env
        ) as trace:
            trace.wait_for("'slept 0.2 s'")
    else:
        # What the README says of an older one: it refuses -c, and this works.
        done = checkout.run("sudo", "bpftrace", "sample.bt", *command, timeout=60)
        assert "Error finding location" in done.stdout + done.stderr
        with Bpftrace(script, ready=False, strlen=None, cwd=checkout.where) as trace:
            trace.wait_for("EVENT")
            assert checkout.run("python", "-m", "pyusdt", "sleep.py", "1").returncode == 0
            trace.wait_for("'slept 0.2 s'")
    seen = {line.split(" ")[0] for line in trace.lines}
    assert {"PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "CALL", "LINE"} <= seen
    assert "Tracing ended." in trace.output


@tracer
def test_sample_with_a_process(checkout):
    """python -m pyusdt sleep.py; sudo bpftrace sample.bt -p $(pgrep -f "python -m pyusdt")"""
    process = checkout.start("python", "-m", "pyusdt", "sleep.py")
    try:
        pid = str(process.pid)
        # Other tests may run beside this one; and the process may not yet have its name.
        for _ in range(100):
            found = checkout.run("pgrep", "-f", "python -m pyusdt")
            if pid in found.stdout.split():
                break
            assert process.poll() is None
            time.sleep(0.1)
        else:
            raise AssertionError(f"pgrep does not find {pid}: {found}")
        script = (checkout.where / "sample.bt").read_text()
        wait_for_library(process)
        with Bpftrace(script, "-p", pid, ready=False, strlen=None, cwd=checkout.where) as trace:
            trace.wait_for("'slept 0.2 s'")
        starts = [line for line in trace.lines if re.match(r"PY_START +\d+ +nap ", line)]
        assert starts
        after = [trace.lines[trace.lines.index(line) + 1] for line in starts]
        assert not set(after) & set(starts), "an event came twice"
    finally:
        stop(process)


@tracer
def test_one_liner(checkout):
    """The one-liner: sudo bpftrace -e ... -c "python -m pyusdt sleep.py" """
    options = ["-c", "python -m pyusdt sleep.py"] if version() >= C_OPTION else []
    with Bpftrace(
        ONE_LINER, *options, ready=False, strlen=None, cwd=checkout.where, env=checkout.env
    ) as trace:
        if not options:
            trace.wait_for("Attaching")
            process = checkout.start("python", "-m", "pyusdt", "sleep.py")
        trace.wait_for("nap (")
        if not options:
            stop(process)
    assert re.search(r"^nap \(\S+sleep\.py:\d+\)$", trace.output, re.MULTILINE)


@tracer
def test_check_msec(checkout):
    """PYUSDT_CHECK_MSEC=50 python -m pyusdt sleep.py"""
    env = {**checkout.env, "PYUSDT_CHECK_MSEC": "50"}
    process = checkout.start("python", "-m", "pyusdt", "sleep.py", env=env)
    try:
        script = 'usdt::pyusdt:PY_START { printf("%s\\n", str(arg0)); }'
        wait_for_library(process)
        with Bpftrace(script, "-p", str(process.pid)) as trace:
            trace.wait_for("nap")
    finally:
        stop(process)


@pytest.fixture(scope="module", params=["source", "wheel"])
def installed(request, python, checkout, tmp_path_factory):
    """An environment after `pip install .`, or after the install of a wheel."""
    where = tmp_path_factory.mktemp("installed")
    done = python.run("-m", "venv", str(where / "venv"), timeout=300)
    assert done.returncode == 0, done.stderr
    pip = [str(where / "venv/bin/python"), "-m", "pip", "-q", "--disable-pip-version-check"]
    what = "."
    if request.param == "wheel":
        done = checkout.run(*pip, "wheel", "--no-deps", "-w", str(where), ".")
        assert done.returncode == 0, done.stderr
        what = str(next(where.glob("pyusdt-*.whl")))
    done = checkout.run(*pip, "install", what)
    assert done.returncode == 0, done.stderr
    return Checkout(where, {**checkout.env, "PATH": f"{where}/venv/bin:{checkout.env['PATH']}"})


@tracer
def test_pip_install(installed):
    """Tracing by -p PID, and by the path that --lib prints."""
    shutil.copy(ROOT / "sleep.py", installed.where)
    lib = installed.run("python", "-m", "pyusdt", "--lib").stdout.strip()
    assert lib.startswith(str(installed.where))
    by_name = 'usdt::pyusdt:PY_START { printf("%s\\n", str(arg0)); }'
    process = installed.start("python", "-m", "pyusdt", "sleep.py")
    try:
        wait_for_library(process)
        with Bpftrace(by_name, "-p", str(process.pid)) as trace:
            trace.wait_for("nap")
    finally:
        stop(process)
    with Bpftrace(by_name.replace("usdt::", f'usdt:"{lib}":')) as trace:
        assert installed.run("python", "-m", "pyusdt", "sleep.py", "0.1").returncode == 0
        trace.wait_for("nap")


def test_installed_files(installed):
    """The package brings the library, the types, and nothing at the top level but itself."""
    code = "import os, pyusdt; print(*sorted(os.listdir(os.path.dirname(pyusdt.__file__))))"
    files = installed.run("python", "-c", code).stdout.split()
    objects = [f"libpython-usdt-{group}.so" for group in ("function", "line", "runtime")]
    libraries = [f for f in files if f.endswith(".so")]
    assert libraries[:-1] == objects
    assert [f for f in files if f.startswith("libpyusdt")] == [libraries[-1], "libpyusdt.pyi"]
    assert {"__init__.py", "__main__.py", "run.py", "py.typed"} <= set(files)
    site = Path(installed.run("python", "-m", "pyusdt", "--lib").stdout).parent.parent
    assert {p.name for p in site.iterdir() if "pyusdt" in p.name and p.suffix != ".dist-info"} == {
        "pyusdt"
    }


@tracer
def test_demo(checkout, python):
    done = checkout.run("make", "demo", f"PYTHON={python.path}", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^PY_RETURN .* nap .*'slept 0\.2 s'$", done.stdout, re.MULTILINE)
    assert re.search(r"^pyusdt: \d+ events: PY_START \d+ .* LINE \d+$", done.stdout, re.MULTILINE)
    assert "error" not in done.stderr.lower()


# ---- what goes wrong, says so in one line ----


def one_line(done, *words):
    """One line of ours on stderr; make adds one of its own."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_python_that_does_not_run(checkout):
    one_line(checkout.run("make", "PYTHON=/bin/false"), "PYTHON=/bin/false", "3.12")


def test_old_python(checkout, tmp_path):
    """Something that calls itself Python 3.11."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.11.9\nexit 0\n')
    old.chmod(0o755)
    one_line(checkout.run("make", f"PYTHON={old}"), "3.12", "Python 3.11.9")


def test_no_python_at_all(checkout, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "make", "dirname", "tr", "sort", "head", "ls"):
        (tools / name).symlink_to(shutil.which(name))
    env = {"PATH": str(tools), "HOME": str(tmp_path)}
    if any(Path("/usr/local/bin").glob("python3.[0-9]*")) or any(
        Path("/opt").glob("*/bin/python3")
    ):
        env["PYTHON"] = str(tmp_path / "none")
    done = subprocess.run(
        ["make"], cwd=checkout.where, env=env, capture_output=True, text=True, check=False
    )
    one_line(done, "PYTHON=")


def test_demo_without_root():
    """It says so before it changes anything."""
    with tempfile.TemporaryDirectory() as where:
        os.chmod(where, 0o755)
        copy_sources(Path(where))
        somebody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            ["make", "demo", "PYTHON=python3"],
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
            **somebody,
        )
        one_line(done, "needs root", "sudo make demo PYTHON=python3")
        assert not (Path(where) / "build").exists()
