"""pyusdt ps, list, lib, doctor, completion; its errors, its help, its man pages."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import SERVER, objects, opened, program, run, start
from conftest import PACKAGE_ROOT, ROOT, tracer

# ---- ps, list, lib, doctor ----


@tracer
def test_ps(python, tmp_path):
    with program(python, tmp_path / "server.py", SERVER) as one:
        (line,) = [
            o for o in objects(run(python, "ps", "-f", "json").stdout) if o["pid"] == one.pid
        ]
        assert line.pop("probes") >= len(python.probes)
        assert line == {
            "pid": one.pid, "user": "root", "traced": 0,
            "python": f"3.{python.version[1]}" + "t" * python.is_free_threaded,
            "where": "", "library": os.path.realpath(python.lib),
            "command": f"{python.path} -m pyusdt {tmp_path / 'server.py'}",
        }  # fmt: skip
        assert str(one.pid) in run(python, "ps").stdout
        table = csv.DictReader(io.StringIO(run(python, "ps", "-f", "csv").stdout))
        assert str(one.pid) in [row["pid"] for row in table]
        if os.geteuid() == 0:
            assert "sudo" not in run(python, "ps").stderr


def test_list(python):
    found = objects(run(python, "list", "-f", "json").stdout)
    assert {row["probe"] for row in found if row["provider"] == "pyusdt"} >= set(python.probes)
    assert all(
        len(row["arguments"].split()) == len(row["names"].split()) == 8
        for row in found
        if row["probe"] == "PY_START"
    )


def test_lib(python):
    done = run(python, "lib")
    assert (done.returncode, done.stdout) == (0, python.lib + "\n")


@tracer
def test_doctor(python, tmp_path):
    done = run(python, "doctor")
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"(ok    [\w ]+: .+\n)+", done.stdout)
    assert "a probe was attached" in done.stdout
    with program(python, tmp_path / "server.py", SERVER) as one:
        done = run(python, "doctor", "-p", str(one.pid))
        assert f"ok    process: {one.pid} has loaded" in done.stdout
        assert done.returncode == 0


@tracer
@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("umount -l /sys/kernel/debug/tracing /sys/kernel/tracing 2>/dev/null || true",
         r"FAIL  tracefs: not mounted; sudo mount -t tracefs"),
        ("mount -t tmpfs t /sys/kernel/security && "
         "echo 'none integrity [confidentiality]' >/sys/kernel/security/lockdown",
         r"FAIL  lockdown: .*; boot with"),
        ("PATH=/nonexistent", r"FAIL  bpftrace: there is no bpftrace; install bpftrace"),
        ("exec setpriv --bounding-set -sys_admin,-bpf,-perfmon --inh-caps -all --",
         r"FAIL  root: without CAP_SYS_ADMIN"),
    ],
    ids=["tracefs", "lockdown", "bpftrace", "capabilities"],
)  # fmt: skip
def test_doctor_names_the_cure(python, before, line):
    run_it = '"$@"' if before.startswith("exec") else '\nexec "$@"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-uc", f"{before} {run_it}", "sh"]
    done = subprocess.run(
        [*words, python.path, "-m", "pyusdt.cli", "doctor"],
        env=python.env(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(line, done.stdout), done.stdout


@tracer
def test_doctor_without_root_and_library(python, tmp_path):
    front = opened(python.path, os.path.realpath(python.path), str(PACKAGE_ROOT))
    setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*front, *setpriv, python.path, "-m", "pyusdt.cli", "doctor", "-p", str(os.getpid())],
        env=python.env(), capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"FAIL  root: uid 65534; .*sudo", done.stdout)
    assert re.search(r"FAIL  process: may not read process \d+; use sudo", done.stdout)
    paranoid = Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip()
    if int(paranoid) >= 0:
        assert re.search(r"FAIL  perf_event_paranoid: \d.*; use sudo", done.stdout)
    done = run(python, "doctor", "-p", str(os.getpid()))
    assert re.search(r"FAIL  process: .*has not loaded pyusdt; start it with", done.stdout)


# ---- the command line ----


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([], 2, "no tool or command"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        (["calls", "--nonsense"], 2, "unrecognized arguments: --nonsense"),
        (["calls", "-p", "x"], 2, "'x' is not a whole number above 0"),
        (["calls", "-d", "-1"], 2, "not a number of seconds"),
        (["calls", "-p", "1", "-n", "x"], 2, "-p and -n exclude one another"),
        (["calls", "-p", "1", "--", "x.py"], 2, "-p and -- exclude one another"),
        (["calls", "--"], 2, "no program after --"),
        (["ps", "--", "x.py"], 2, "pyusdt ps runs no program"),
        (["calls", "-p", "999999999"], 1, "there is no process 999999999"),
        (["calls", "-n", "no-such-name"], 1, "no process with pyusdt is called no-such-name"),
        (["configure"], 2, "name a process"),
        (["calls", "--include", "x"], 2, "include: settings of one process"),
        (["trace"], 2, "give a script or -e PROGRAM"),
        (["trace", "/nonexistent.bt"], 1, "cannot read /nonexistent.bt"),
    ],
)
def test_errors_are_one_line(python, words, code, line):
    done = run(python, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("pyusdt: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@tracer
def test_program_that_cannot_start(python):
    done = run(python, "calls", "--", "/nonexistent/x.py")
    assert done.returncode == 1
    assert "no file /nonexistent/x.py" in done.stderr
    done = run(python, "calls", "--", "-m", "no_such_module")
    assert done.returncode == 1
    assert "No module named no_such_module" in done.stderr


def test_help_of_everything(python):
    done = run(python, "--help")
    assert done.returncode == 0
    names = re.findall(r"^    (\w+) ", done.stdout, re.MULTILINE)
    tools = [path.stem.removeprefix("py") for path in (ROOT / "tools").glob("py*.bt")]
    assert set(names) == {*tools, "ps", "list", "trace", "configure", "doctor", "lib", "completion"}
    for name in names:
        done = run(python, name, "--help")
        assert done.returncode == 0
        assert "examples:\n" in done.stdout


def test_the_command_does_without_rich(python):
    code = "import sys; sys.modules['rich'] = None\n"
    code += "from pyusdt.cli import main; raise SystemExit(main(['calls', '--show-script']))"
    done = python.run("-c", code)
    assert done.returncode == 0 or "bpftrace" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(python, tmp_path, shell):
    done = run(python, "completion", shell)
    assert done.returncode == 0
    if shutil.which(shell) is None:
        return
    (tmp_path / "completion").write_text(done.stdout)
    subprocess.run([shell, "-n", str(tmp_path / "completion")], check=True)
    if shell == "bash":
        script = f"""source {tmp_path}/completion
        words() {{
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _pyusdt
            echo ${{COMPREPLY[*]}}
        }}
        words pyusdt ca
        words pyusdt calls --du
        words pyusdt calls -f js
        words pyusdt completion z"""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "calls\n--duration\njson\nzsh\n"


def test_man_pages_are_up_to_date():
    script = ROOT / "scripts" / "man-pages.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0


def test_signals_before_the_start(python):
    """A stop that comes while the command reads its arguments is no traceback."""
    command = start(python, "calls", "--help")
    command.send_signal(signal.SIGTERM)
    _, err = command.communicate(timeout=60)
    assert "Traceback" not in err
