"""The options of `python -m pyusdt`, settings that are wrong, and old Pythons."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PACKAGE_ROOT
from runner import one_line, outcome, run

# ---- options ----


@pytest.mark.parametrize(
    "args, text",
    [
        ([], b"no script; type: python -m pyusdt script.py"),
        (["--"], b"no script; type: python -m pyusdt script.py"),
        (["--wait=1"], b"no script; type: python -m pyusdt script.py"),
        (["-m"], b"option -m needs a module"),
        (["-c"], b"option -c needs a command"),
        (["--nosuch", "prog.py"], b"unknown option --nosuch"),
        (["-x", "prog.py"], b"unknown option -x"),
        (["-i", "prog.py"], b"python's own go before -m pyusdt"),
        (["--wait=", "prog.py"], b"--wait=: give a number of seconds, such as --wait=10"),
        (["--wait=x", "prog.py"], b"give a number of seconds"),
        (["--wait=-1", "prog.py"], b"give a number of seconds"),
        (["--wait=nan", "prog.py"], b"give a number of seconds"),
        (["--wait=inf", "prog.py"], b"give a number of seconds"),
        (["--wait=1e99", "prog.py"], b"give a number of seconds"),
        (["--wait=1,5", "prog.py"], b"give a number of seconds"),
        (["--waiting", "prog.py"], b"unknown option --waiting"),
        (["--lib=x"], b"unknown option --lib=x"),
        ([b"--\xff"], b"unknown option --\\udcff"),
    ],
    ids=ascii,
)
def test_wrong_options(python, tmp_path, args, text):
    (tmp_path / "prog.py").write_text("print('never')")
    ours = run(python, "-m", "pyusdt", *args, cwd=tmp_path)
    assert (ours.code, ours.out) == (2, b"")
    assert text in one_line(ours.err)


def test_options(python, tmp_path):
    help_, h = (run(python, "-m", "pyusdt", word, "x") for word in ("--help", "-h"))
    assert help_ == h and help_.code == 0 and help_.err == b""
    for word in (
        b"--wait",
        b"--lib",
        b"--version",
        b"-m module",
        b"-c command",
        b"PYUSDT_CHECK_MSEC",
    ):
        assert word in help_.out
    assert all(len(line) <= 80 for line in help_.out.splitlines())
    version = run(python, "-c", "import pyusdt; print('pyusdt', pyusdt.__version__)")
    assert run(python, "-m", "pyusdt", "--version") == version
    # Not by run(), which hides what looks like an address.
    lib = python.run("-m", "pyusdt", "--lib", cwd=tmp_path)
    assert (lib.returncode, lib.stdout, lib.stderr) == (0, f"{python.lib}\n", "")


def test_import_is_silent(python):
    assert run(python, "-W", "error", "-c", "import pyusdt; pyusdt.probes()") == (0, b"", b"")


@pytest.mark.parametrize(
    "value", ["abc", "-1", "0", "1.5", " ", "1x", "99999999999999999999", "60001"]
)
@pytest.mark.parametrize("name", ["PYUSDT_CHECK_MSEC", "PYUSDT_VALUE_MAX"])
def test_bad_setting(python, tmp_path, name, value):
    (tmp_path / "prog.py").write_text("import sys\nprint('ran')\nsys.exit(3)")
    ours = run(python, "-m", "pyusdt", "prog.py", cwd=tmp_path, env={name: value})
    assert (ours.code, ours.out) == (3, b"ran\n")
    assert f"{name}={value}: ".encode() in one_line(ours.err)


def old_pythons():
    """Pythons before 3.12 in the usual places."""
    names = [f"python3.{minor}" for minor in range(6, 12)] + ["python3"]
    found = {shutil.which(name) for name in names} | {f"/usr/bin/{name}" for name in names}
    found |= set(map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3")))
    code = "import sys; sys.exit(sys.version_info >= (3, 12))"
    return sorted(
        path
        for path in found
        if path
        and os.path.exists(path)
        and subprocess.run([path, "-c", code], capture_output=True, check=False).returncode == 0
    )


def refused(command):
    env = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"run the program with CPython 3.12 or newer" in done.stderr
    return done.stderr


def test_old_python(tmp_path):
    """One line.  It is played on this Python, and tried on each old one there is."""
    (tmp_path / "prog.py").write_text("print('never')")
    play = "import sys; sys.version_info = (3, 11, 7, 'final', 0)"
    line = one_line(refused([sys.executable, "-c", f"{play}; sys.argv = ['-m']; import pyusdt"]))
    assert b"cpython 3.11;" in line
    assert b"\nImportError: pyusdt: " in refused([sys.executable, "-c", f"{play}; import pyusdt"])
    for python in old_pythons():
        line = one_line(refused([python, "-m", "pyusdt", tmp_path / "prog.py"]))
        assert b"/python" in line and b" is cpython 3." in line
        assert b"\nImportError: pyusdt: " in refused([python, "-c", "import pyusdt"])


# ---- waiting for a tracer ----


def test_wait_in_vain(python, tmp_path):
    (tmp_path / "prog.py").write_text("import sys\nprint(sys.argv)\nsys.exit(3)")
    ours = run(python, "-m", "pyusdt", "--wait=0.3", "prog.py", "--wait", cwd=tmp_path)
    assert (ours.code, ours.out) == (3, b"['prog.py', '--wait']\n")
    first, second = ours.err.splitlines()
    assert re.fullmatch(rb"pyusdt: waiting for a tracer to attach to process \d+", first)
    assert re.fullmatch(rb"pyusdt: no tracer attached within TIME seconds; running without", second)


@pytest.mark.parametrize("option", ["--wait", "--wait=1000"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_wait_interrupted(python, tmp_path, option, number):
    (tmp_path / "prog.py").write_text("print('never')")
    process = subprocess.Popen(
        [python.path, "-m", "pyusdt", option, "prog.py"],
        cwd=tmp_path,
        env=python.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"waiting" in process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (-number, b"", b"")


def test_wait_without_stderr(python, tmp_path):
    (tmp_path / "prog.py").write_text("print('ran')")
    command = [
        "sh",
        "-c",
        'exec "$@" 2>&-',
        "sh",
        python.path,
        "-m",
        "pyusdt",
        "--wait=0",
        "prog.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=python.env(), capture_output=True, check=False)
    assert outcome(done) == (0, b"ran\n", b"")
