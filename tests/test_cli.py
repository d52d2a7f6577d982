"""The pyusdt command on real processes, by the bpftrace that is installed."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
import rich
from command import (
    SERVER,
    interrupt,
    is_traced,
    objects,
    opened,
    program,
    rows,
    run,
    start,
    until,
    wait_for_start,
)
from conftest import PACKAGE_ROOT, tracer
from tracer import version

# 100 calls of hundred(), 3 of trois_é().
COUNTED = """\
import sys
def hundred(): pass
def trois_é(): pass
for _ in range(100): hundred()
for _ in range(3): trois_é()
print("out"); print("err", file=sys.stderr)
"""


def ask(process, calls):
    process.stdin.write(f"{calls}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


# ---- TOOL ----


@tracer
def test_program_from_its_first_line_to_its_end(python, tmp_path):
    path = tmp_path / "counted.py"
    path.write_text(COUNTED + "raise SystemExit(7)")
    done = run(python, "calls", "-f", "json", "-o", str(tmp_path / "o"), "--", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    text = (tmp_path / "o").read_text()
    found = rows(text, "calls")
    assert found["hundred"] == {
        "type": "row", "table": "calls", "calls": 100,
        "function": "hundred", "file": str(path), "line": 2,
    }  # fmt: skip
    assert found["trois_é"]["calls"] == 3
    summary = objects(text)[-1]
    assert (summary["type"], summary["tool"], summary["lost_events"]) == ("summary", "pycalls", 0)
    assert summary["bpftrace"] == ".".join(map(str, version()[:2]))


@tracer
def test_sorted_by_a_column(python, tmp_path):
    path = tmp_path / "waits.py"
    path.write_text("import os, time\nfor _ in range(30): os.getppid()\ntime.sleep(0.02)\n")
    for column in "calls", "NSECS":
        done = run(python, "syscalls", "--sort", column, "-f", "json", "--", str(path))
        found = [o for o in objects(done.stdout) if o["type"] == "row" and o["file"] == str(path)]
        values = [row[column.lower()] for row in found]
        assert values == sorted(values, reverse=True)
        assert found[0]["syscall"] == {"calls": "getppid", "NSECS": "clock_nanosleep"}[column]
    done = run(python, "syscalls", "--sort", "weight", "--", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "calls, nsecs, max_nsecs" in done.stderr.replace("'", "")
    assert run(python, "calls", "--sort", "calls", "--", str(path)).returncode == 2


# Functions with names and in files of so many bytes, around the limits of old bpftraces.
LENGTHS = (98, 99, 100, 101, 150, 197)
LONG = f"""
for n in {LENGTHS}:
    name, file = "f" * n, "/" + "d" * (n - 1)
    text = "def NAME():\\n pass\\ntry: NAME(1)\\nexcept TypeError: NAME()".replace("NAME", name)
    exec(compile(text, file, "exec"))
"""


@tracer
@pytest.mark.parametrize("name", ["calls", "lines", "exc"])
def test_long_names(python, tmp_path, name):
    done = run(python, name, "-f", "json", "-o", str(tmp_path / "o"), "--", "-c", LONG)
    assert done.returncode == 0, done.stderr
    found = [o for o in objects((tmp_path / "o").read_text()) if o["type"] == "row"]
    for n in LENGTHS:
        names = {o["function"] for o in found if o["file"] == "/" + "d" * (n - 1)}
        assert names == {"<module>"} | ({"f" * n} if name != "exc" else set())


@tracer
def test_text_and_csv(python, tmp_path):
    path = tmp_path / "counted.py"
    path.write_text(COUNTED)
    done = run(python, "calls", "--top", "1", "--", str(path))
    assert done.returncode == 0
    assert re.search(rf"^  100  hundred   {re.escape(str(path))}:2$", done.stdout, re.MULTILINE)
    assert "trois" not in done.stdout
    done = run(python, "calls", "-f", "csv", "--", str(path))
    text = done.stdout.replace("out\n", "")
    table = list(csv.DictReader(io.StringIO(text)))
    found = {row["function"]: row for row in table}
    assert found["hundred"] == {
        "calls": "100", "function": "hundred", "file": str(path), "line": "2",
    }  # fmt: skip


@tracer
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "counted", "a"],
        ["-c", COUNTED, "a"],
        ["PYTHON", "-X", "utf8", "counted.py", "a"],
        ["PYTHON", "-m", "counted"],
    ],
    ids=["module", "command", "python", "python-module"],
)
def test_what_is_run(python, tmp_path, words):
    (tmp_path / "counted.py").write_text(COUNTED)
    words = [python.path if word == "PYTHON" else word for word in words]
    done = run(python, "calls", "-f", "json", "-o", "o", "--", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert rows((tmp_path / "o").read_text(), "calls")["hundred"]["calls"] == 100


@tracer
def test_a_program_on_path(python, tmp_path):
    path = tmp_path / "counted"
    path.write_text(f"#!{python.path}\n{COUNTED}")
    path.chmod(0o755)
    env = python.env(PATH=f"{tmp_path}:{os.environ['PATH']}")
    done = run(python, "calls", "-f", "json", "--", "counted", env=env)
    assert done.returncode == 0
    text = done.stdout.replace("out\n", "")
    assert rows(text, "calls")["hundred"]["calls"] == 100


@tracer
def test_running_process_for_some_time(python, tmp_path):
    """By its PID; another process with the same library is not counted."""
    with (
        program(python, tmp_path / "server.py", SERVER) as one,
        program(python, tmp_path / "other.py", SERVER) as two,
    ):
        command = start(python, "calls", "-p", str(one.pid), "-f", "json")
        wait_for_start(command)
        assert is_traced(python, one.pid)
        ask(one, 50)
        ask(two, 70)
        ask(one, 5)
        out, err = interrupt(command)
        assert (command.returncode, err) == (0, "")
        assert rows(out, "calls")["once"]["calls"] == 55
        until(lambda: not is_traced(python, one.pid))


@tracer
def test_end_of_the_process_ends_the_command(python, tmp_path):
    with program(python, tmp_path / "server.py", SERVER) as one:
        command = start(python, "calls", "-p", str(one.pid), "-f", "json")
        wait_for_start(command)
        ask(one, 5)
        one.stdin.close()
        out, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (0, "")
    assert rows(out, "calls")["once"]["calls"] == 5


@tracer
def test_by_name_and_duration(python, tmp_path):
    with program(python, tmp_path / "unlikely_name.py", SERVER):
        for name in ("unlikely_name", "unlikely_name.py"):
            done = run(python, "calls", "-n", name, "-d", "0.2", "-f", "json")
            assert (done.returncode, done.stderr) == (0, "")
            assert objects(done.stdout)[-1]["type"] == "summary"
        with program(python, tmp_path / "unlikely_name.py", SERVER):
            done = run(python, "calls", "-n", "unlikely_name")
            assert done.returncode == 1
            assert "2 processes are called unlikely_name; choose one by -p" in done.stderr


@tracer
def test_all_processes(python, tmp_path):
    """Without a target: every process with this library, and not the command itself."""
    command = start(python, "calls", "-f", "json")
    wait_for_start(command)
    with program(python, tmp_path / "server.py", SERVER) as one:
        until(lambda: is_traced(python, one.pid))
        ask(one, 40)
        out, err = interrupt(command)
    assert (command.returncode, err) == (0, "")
    found = rows(out, "calls")
    assert found["once"]["calls"] == 40
    assert not [f for f in found.values() if "/pyusdt/cli/" in f["file"]]


@tracer
def test_settings_of_the_program(python, tmp_path):
    words = ["--include", "a*", "--exclude", "b*", "--slow-usec", "5"]
    code = "import os; print(*(os.environ.get('PYUSDT_' + n) for n in"
    code += " ('INCLUDE', 'EXCLUDE', 'SLOW_USEC')))"
    done = run(python, "calls", "-o", str(tmp_path / "o"), *words, "--", "-c", code)
    assert done.stdout == "a* b* 5\n"


@tracer
def test_settings_of_a_process(python, tmp_path):
    """While a tool runs, and as they were again after it."""

    def settings(pid):
        found = objects(run(python, "configure", "-p", str(pid), "-f", "json").stdout)
        return {row["setting"]: row["value"] for row in found}

    source = SERVER.replace("def once(): pass", "def other(): pass\ndef once(): other()")
    with program(python, tmp_path / "configured.py", source) as one:
        before = settings(one.pid)
        words = ["-p", str(one.pid), "-f", "json", "--include", "once"]
        command = start(python, "calls", *words)
        wait_for_start(command)
        assert settings(one.pid) == {**before, "include": "once"}
        ask(one, 20)
        out, err = interrupt(command)
        assert (command.returncode, err) == (0, "")
        assert {name: row["calls"] for name, row in rows(out, "calls").items()} == {"once": 20}
        assert settings(one.pid) == before
        run(python, "configure", "-n", "configured", "--slow-usec", "77", "--exclude", "x,y")
        assert settings(one.pid) == {**before, "slow_usec": 77, "exclude": "x,y"}


def in_terminal(python, *words, **options):
    """The command in a terminal of its own: (the terminal's other end, the command)."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    command = start(
        python, *words, stdin=end, stdout=end, stderr=end,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)), **options,
    )  # fmt: skip
    os.close(end)
    return terminal, command


def rest_of(terminal: int) -> bytes:
    """All that is still said."""
    said = b""
    # The read fails when the other end is closed.
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 65536):
            said += more
    os.close(terminal)
    return said


@tracer
def test_snapshots(python, tmp_path):
    with program(python, tmp_path / "server.py", SERVER) as one:
        command = start(python, "calls", "-p", str(one.pid), "-f", "json", "-i", "0.1")
        wait_for_start(command)
        ask(one, 5)
        # Reading the order has called functions, too.
        rows = (json.loads(until(command.stdout.readline)) for _ in range(100))
        first = next(row for row in rows if row.get("function") == "once")
        assert (first["type"], first["calls"]) == ("row", 5)
        ask(one, 5)
        out, _ = interrupt(command)
        *found, summary = objects(out)
        found = [row for row in found if row["function"] == "once"]
        assert found[-1]["calls"] == 10
        times = [row["seconds"] for row in found]
        assert times == sorted(times)
        assert 0 < times[-1] <= summary["seconds"]


@tracer
def test_tables_in_place_on_a_terminal(python, tmp_path):
    """With rich, which is an extra; it lies where pytest does."""
    where = Path(rich.__file__).parent.parent
    with program(python, tmp_path / "server.py", SERVER) as one:
        env = python.env(PYTHONPATH=f"{PACKAGE_ROOT}:{where}", TERM="xterm")
        terminal, command = in_terminal(python, "calls", "-p", str(one.pid), "-i", "0.1", env=env)
        said = b""
        while b"once" not in said:
            until(lambda: is_traced(python, one.pid))
            ask(one, 5)
            said += os.read(terminal, 65536)
        os.write(terminal, b"\x03")
        said += rest_of(terminal)
        assert command.wait(60) == 0
        assert b"\x1b[2K" in said  # lines are cleared, to be written again
        total = re.findall(r"^ *(\d+)  once  ", said.decode(), re.MULTILINE)[-1]
        assert int(total) % 5 == 0


@tracer
@pytest.mark.parametrize("kind", ["json", "text"])
def test_lost_events_are_counted(python, tmp_path, kind):
    """On one CPU: bpftrace 0.27 tells of those of CPU 0 alone."""
    source = "import time\ndef f(): pass\nfor i in range(30000): f()\ntime.sleep(0.5)\n"
    (tmp_path / "p.py").write_text(source + "for i in range(50): f(); time.sleep(0.002)\n")
    text = 'usdt::pyusdt:PY_START { printf("%s\\n", str(arg5)); @ = count(); }'
    words = ["trace", "-f", kind, "-e", text, "--", str(tmp_path / "p.py")]
    done = subprocess.run(
        ["taskset", "-c", "0", python.path, "-m", "pyusdt.cli", *words],
        env=python.env(BPFTRACE_PERF_RB_PAGES="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    if kind == "json":
        found = objects(done.stdout)
        seen = sum(one["type"] == "event" for one in found)
        (total,) = [one["value"] for one in found if one["type"] == "row"]
        lost = found[-1]["lost_events"]
    else:
        seen = len(re.findall(r"^[\w.<>]+$", done.stdout, re.MULTILINE))
        total = int(re.search(r"^@: (\d+)$", done.stdout, re.MULTILINE)[1])
        lost = int((re.search(r"lost (\d+) events", done.stderr) or [0, 0])[1])
    assert total > 30000
    assert seen + lost == total


@tracer
def test_reader_that_goes_away(python, tmp_path):
    """As with | head: the program runs to its end."""
    (tmp_path / "p.py").write_text(
        "import time\ndef f(): time.sleep(0.01)\nfor _ in range(50): f()\n"
        f"open({str(tmp_path / 'ended')!r}, 'w')\n"
    )
    text = 'usdt::pyusdt:PY_START { printf("%s\\n", str(arg5)); }'
    command = start(python, "trace", "-e", text, "--", str(tmp_path / "p.py"))
    assert command.stdout.readline()
    command.stdout.close()
    assert (command.wait(60), command.stderr.read()) == (0, "")
    assert (tmp_path / "ended").exists()


# ---- another root, another user ----


CHROOT = """
mkdir -p "$0/root"
mount -t tmpfs tmpfs "$0/root"
cd "$0/root"
for dir in $1; do mkdir -p ".$dir"; mount --rbind "$dir" ".$dir"; done
ENTER
"""
# pivot_root(2) by hand: not every Debian has the command.
PIVOT_ROOT = """
import ctypes, platform
number = {"x86_64": 155, "aarch64": 41}[platform.machine()]
raise SystemExit(-ctypes.CDLL(None).syscall(number, b".", b"old"))
"""
ENTER = {
    "chroot": 'shift; exec chroot . "$@"',
    "pivot_root": 'mkdir old; "$2" -c "$PIVOT_ROOT"; umount -l old; shift; exec "$@"',
}


@tracer
@pytest.mark.parametrize("kind", ENTER)
def test_process_with_its_own_root(python, tmp_path, kind):
    """In its own mount namespace, below its own root; by the host's PID."""
    where = f"{tmp_path}/elsewhere"
    real = Path(python.path).resolve()
    tops = {f"/{Path(p).parts[1]}" for p in (real, PACKAGE_ROOT, tmp_path, "/usr", "/lib", "/proc")}
    tops |= {f"/{name}" for name in ("lib64", "etc", "dev") if os.path.exists(f"/{name}")}
    dirs = " ".join(sorted(tops))
    script = CHROOT.replace("ENTER", ENTER[kind])
    before = ["env", f"PIVOT_ROOT={PIVOT_ROOT}", "unshare", "-m", "--propagation", "private"]
    before += ["sh", "-euc", script, where, dirs]
    with program(python, tmp_path / "server.py", SERVER, *before) as one:
        (line,) = [
            o for o in objects(run(python, "ps", "-f", "json").stdout) if o["pid"] == one.pid
        ]
        assert line["where"].split(",") == ["mnt"] + (["chroot"] if kind == "chroot" else [])
        command = start(python, "calls", "-p", str(one.pid), "-f", "json")
        wait_for_start(command)
        ask(one, 50)
        out, err = interrupt(command)
    assert (command.returncode, err) == (0, "")
    assert rows(out, "calls")["once"]["calls"] == 50


@tracer
def test_command_in_a_pid_namespace(python):
    """As in a container without --pid=host: right numbers, or none."""
    front = ["unshare", "-p", "-f", "--mount-proc", "--propagation", "private"]
    words = [*front, python.path, "-m", "pyusdt.cli"]
    options = {"env": python.env(), "capture_output": True, "text": True}
    calls = [*words, "calls", "-f", "json", "--", "-c", COUNTED]
    done = subprocess.run(calls, check=False, **options)
    assert rows(done.stdout.replace("out\n", ""), "calls")["hundred"]["calls"] == 100
    trace = [*words, "trace", "-e", "profile:hz:99 { @ = count(); }", "--", "-c", COUNTED]
    done = subprocess.run(trace, check=False, **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--pid=host" in done.stderr


@tracer
def test_the_program_runs_as_the_user_behind_sudo(python, tmp_path):
    code = "import os, json; print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), "
    code += "os.environ['HOME'], 'SUDO_UID' in os.environ, os.environ['KEPT']]))\n"
    code += "def f(): pass\nfor _ in range(9): f()"
    front = opened(python.path, os.path.realpath(python.path), str(PACKAGE_ROOT))
    env = python.env(SUDO_UID="65534", SUDO_GID="65534", SUDO_USER="nobody", KEPT="yes")
    words = ["-m", "pyusdt.cli", "calls", "-f", "json", "-o", "/dev/stderr", "--", "-c", code]
    done = subprocess.run(
        [*front, python.path, *words], env=env, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    uids, gids, groups, home, sudo, kept = json.loads(done.stdout)
    assert (set(uids), set(gids), groups) == ({65534}, {65534}, [65534])
    assert (home, sudo, kept) == ("/nonexistent", False, "yes")
    assert rows(done.stderr, "calls")["f"]["calls"] == 9


# ---- trace ----


@tracer
def test_script_of_the_user(python, tmp_path):
    text = (
        "usdt:./libpyusdt.so:pyusdt:PY_START,\nusdt::pyusdt:PY_RETURN\n"
        '/str(arg0) == "hundred"/ { @n[arg6 != 0 ? 1 : 0, arg7 != 0 ? 1 : 0] = count(); }\n'
    )
    (tmp_path / "mine.bt").write_text(text)
    (tmp_path / "counted.py").write_text(COUNTED)
    words = ["trace", "-o", str(tmp_path / "o"), str(tmp_path / "mine.bt")]
    done = run(python, *words, "--", str(tmp_path / "counted.py"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert (tmp_path / "o").read_text().strip() == "@n[1, 1]: 200"


@tracer
def test_one_liner_as_json(python, tmp_path):
    text = 'usdt::pyusdt:PY_START { printf("%s is at %d\\n", str(arg5), arg2); }'
    words = ["trace", "-e", text, "-f", "json", "--", "-c", COUNTED]
    done = run(python, *words)
    events = [o for o in objects(done.stdout.replace("out\n", "")) if o["type"] == "event"]
    assert events.count({"type": "event", "function": "trois_é", "line": 3}) == 3


@tracer
def test_script_that_bpftrace_refuses(python):
    done = run(python, "trace", "-e", "usdt::pyusdt:PY_START { nonsense(); }", "-d", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "bpftrace could not start" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(python, "trace", "-e", "usdt::pyusdt:NONE { }", "--", "-c", "print('never')")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pyusdt list" in done.stderr


# ---- Ctrl-C ----


@tracer
@pytest.mark.parametrize("turn", range(3))
def test_ctrl_c_at_any_moment_in_a_terminal(python, tmp_path, turn):
    """In a real terminal: results or one line, never a traceback of the command, no tracer left."""
    with program(python, tmp_path / "server.py", SERVER) as one:
        # Python's own start is not ours: a Ctrl-C there is told by Python.
        pause = random.Random(f"{python.path}{turn}").uniform(0.25, 1.5)
        terminal, command = in_terminal(python, "calls", "-p", str(one.pid))
        time.sleep(pause)
        os.write(terminal, b"\x03")
        said = rest_of(terminal)
        assert b"Traceback" not in said, said
        # -SIGINT: before the command had begun; a shell calls that 130, too.
        assert command.wait(60) in (0, 130, -signal.SIGINT), said
        until(lambda: not is_traced(python, one.pid))


def run_pgrep(path) -> str:
    """The PIDs of the program."""
    done = subprocess.run(["pgrep", "-f", f"pyusdt.*gate.*{path}"], stdout=-1, check=False)
    return done.stdout.decode()


@tracer
def test_ctrl_c_in_tmux(python, tmp_path):
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    path = tmp_path / "napping.py"
    path.write_text(
        "import time\ndef nap(): time.sleep(0.01)\ntry:\n    while True: nap()\n"
        "except KeyboardInterrupt: raise SystemExit(130)\n"
    )
    tmux = ["tmux", "-S", str(tmp_path / "socket"), "-f", "/dev/null"]
    command = f"{python.path} -m pyusdt.cli calls --top 5 -- {path}; echo code=$?; sleep 60"
    env = python.env(TERM="xterm")
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", "150", "-y", "50", command], env=env, check=True
    )
    try:

        def screen():
            return subprocess.run(
                [*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True
            ).stdout

        until(lambda: "Hit Ctrl-C" in screen())
        until(lambda: run_pgrep(path))
        time.sleep(1.5)
        subprocess.run([*tmux, "send-keys", "C-c"], check=True)
        until(lambda: "code=" in screen(), what=screen())
        text = screen()
        assert re.search(rf"\d+  nap +{re.escape(str(path))}:2", text), text
        assert "Traceback" not in text
        assert "code=130" in text
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


@tracer
def test_stop_that_reaches_the_command_alone(python, tmp_path):
    """It is passed on to the program, which decides what it does."""
    source = "import time\nprint('up', flush=True)\ntry:\n time.sleep(60)\n"
    source += "except KeyboardInterrupt: raise SystemExit(5)\n"
    (tmp_path / "p.py").write_text(source)
    command = start(
        python, "calls", "-o", str(tmp_path / "o"), "--", str(tmp_path / "p.py"),
        start_new_session=True,
    )  # fmt: skip
    assert command.stdout.readline() == "up\n"
    _, err = interrupt(command)
    assert (command.returncode, err) == (5, "")
    assert "<module>" in (tmp_path / "o").read_text()
