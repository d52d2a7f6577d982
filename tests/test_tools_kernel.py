"""The tools that join the kernel's events with Python functions, and the stacks that they
take, against programs that know the answers."""

import contextlib
import json
import subprocess

import pytest
from command import SERVER, checked, interrupt, module, objects, program, run, start, wait_for_start
from conftest import ROOT, tracer
from tracer import Bpftrace

MSEC = 1_000_000


def tool(python, name: str, *words: str) -> tuple[list[dict], list]:
    """(rows of a tool on a program, the JSON that the program printed)."""
    command = start(python, name, "-f", "json", "-o", "/dev/stderr", "--", *words)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, out + err
    return [o for o in checked(err) if o["type"] == "row"], objects(out)


def of_file(rows: list[dict], file: str) -> list[dict]:
    return [row for row in rows if row["file"] == file]


# ---- the tools ----


@tracer
def test_pysyscalls(python, programs):
    rows, (told, *_) = tool(python, "syscalls", f"{programs}kernel_calls.py")
    calls = {r["function"]: r for r in rows if r["syscall"] == "getppid"}
    assert {name: row["calls"] for name, row in calls.items()} == told["calls"]
    files = {name: row["file"] for name, row in calls.items()}
    assert {f for n, f in files.items() if not n.startswith("once_")} == {
        f"{programs}kernel_calls.py"
    }
    assert {f for n, f in files.items() if n.startswith("once_")} == {"<string>"}
    source = (ROOT / "tests/programs/kernel_calls.py").read_text().split("\n")
    for name in "leaf", "größe", "日本", "𐤀", "generator":
        assert f"def {name}(" in source[calls[name]["line"] - 1]
    for row in calls.values():
        assert 0 < row["max_nsecs"] <= row["nsecs"]
    writes = {r["function"]: r["calls"] for r in rows if r["syscall"] == "write"}
    assert writes["send"] == 4


@tracer
def test_pysyscalls_without_our_own(python, tmp_path):
    """The watcher, which waits a thousand times a second while tracers come, is left out."""
    with program(python, tmp_path / "server.py", SERVER) as server:
        command = start(python, "syscalls", "-p", str(server.pid), "-f", "json")
        wait_for_start(command)
        server.stdin.write("1\n")
        server.stdin.flush()
        assert server.stdout.readline() == "done\n"
        out, err = interrupt(command)
    assert (command.returncode, err) == (0, "")
    found = [(o["function"], o["syscall"]) for o in checked(out) if o["type"] == "row"]
    assert ("<module>", "write") in found
    assert "[no Python]" not in dict(found)


@tracer
def test_pyio(python, programs):
    rows, (told, numbers) = tool(python, "io", f"{programs}kernel_calls.py")
    reader, writer, null, file, client, served = numbers
    rows = of_file(rows, f"{programs}kernel_calls.py")
    found = {(r["function"], r["fd"], r["syscall"]): (r["bytes"], r["calls"]) for r in rows}
    assert found["send", writer, "write"] == (1 + 100 + 4096, 3)
    assert found["receive", reader, "read"] == (1 + 100 + 4096, 3)
    assert found["send", null, "write"] == (12345, 1)
    assert told["sent"] == {"send": 1 + 100 + 4096 + 12345, "receive": 1 + 100 + 4096}
    assert found["vectors", file, "writev"] == (5, 1)
    assert found["vectors", file, "pwrite64"] == (7, 1)
    # Python asks for preadv2() where there is one.
    assert found.get(("vectors", file, "preadv"), found.get(("vectors", file, "preadv2"))) == (5, 1)
    assert found["talk", client, "sendto"] == (1000, 1)
    assert found["talk", served, "recvfrom"] == (1000, 4)
    assert found["talk", client, "sendmsg"] == (17, 1)
    assert found["talk", served, "recvmsg"] == (17, 1)
    # Others may have used the same numbers before.
    own = ("send", "receive", "vectors", "talk")
    targets = {row["fd"]: row["target"] for row in rows if row["function"] in own}
    assert targets[null] == "null"
    assert targets[file] == "memfd:pages"
    assert targets[client] == f"127.0.0.1:{told['port']}"
    assert targets[served].startswith("127.0.0.1:")
    assert targets[writer] == targets[reader]
    assert targets[reader].startswith("pipe:[")


# Talks to servers of several kinds, and prints who the two ends' peers were.
PEERS = """\
import json, socket, threading
def serve(server):
    with server.accept()[0] as connection:
        connection.sendall(connection.recv(10))
def talk(address):
    with socket.create_connection(address) as client:
        client.sendall(b"x" * 10)
        client.recv(10)
        return client.getsockname()[1]
told = []
for listen, to in ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"):
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    dual = listen == "::"
    with socket.create_server((listen, 0), family=family, dualstack_ipv6=dual) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        port = server.getsockname()[1]
        told.append([to, port, talk((to, port))])
        thread.join()
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as unconnected:
    unconnected.sendto(b"x", ("::1", 9))
print(json.dumps(told))
"""


@tracer
def test_pyio_peers(python, tmp_path):
    path = tmp_path / "peers.py"
    path.write_text(PEERS)
    rows, (told,) = tool(python, "io", str(path))
    found = {
        (r["function"], r["syscall"], r["target"]): r["bytes"] for r in of_file(rows, str(path))
    }
    for host, server, client in told:
        at = f"[{host}]" if ":" in host else host
        for one, other in ("talk", server), ("serve", client):
            assert found[one, "sendto", f"{at}:{other}"] == 10
            assert found[one, "recvfrom", f"{at}:{other}"] == 10
    assert found["<module>", "sendto", "socket"] == 1


# Threads that read, and then sleep: whenever a probe is put in place, one has just read.
READERS = """\
import os, threading, time
def reader():
    out, into = os.pipe()
    while True:
        os.write(into, b"x"); os.read(out, 1); time.sleep(0.002)
for _ in range(30): threading.Thread(target=reader, daemon=True).start()
print("ready", flush=True)
input()
"""


@tracer
def test_pyio_of_reads_that_are_not_seen_to_end(python, tmp_path):
    """They began while the probes were put in place: what comes next is not taken for them."""
    with program(python, tmp_path / "readers.py", READERS) as readers:
        done = run(python, "io", "-p", str(readers.pid), "-d", "0.2", "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = [one for one in checked(done.stdout) if one["type"] == "row"]
    assert {(row["function"], row["syscall"]) for row in found} == {
        ("reader", "read"),
        ("reader", "write"),
    }


@tracer
def test_pyoffcpu(python, programs):
    # The kernel leaves an event out if it comes while another BPF program runs on that CPU,
    # and there are waits that have one event only.
    single = {("reads", "sleep", "read"), ("waits", "sleep", "futex")}
    for _ in range(3):
        rows, (told,) = tool(python, "offcpu", f"{programs}kernel_waits.py", "waits")
        rows = of_file(rows, f"{programs}kernel_waits.py")
        found = {(r["function"], r["state"], r["syscall"]): r for r in rows}
        if single <= set(found):
            break
    # One that is preempted on its way to sleep is runnable.
    naps = [r for r in rows if (r["function"], r["syscall"]) == ("naps", "clock_nanosleep")]
    assert sum(row["times"] for row in naps) >= 3
    # From when the timer is set to the switch, and back, it is on a CPU.
    assert 3 * 19 * MSEC <= sum(row["nsecs"] for row in naps) <= told["whole"]
    assert max(row["max_nsecs"] for row in naps) >= 19 * MSEC
    assert "sleep" in {row["state"] for row in naps}
    read = found["reads", "sleep", "read"]
    assert told["held"] <= read["nsecs"] <= told["whole"] + 20 * MSEC
    lock = found["waits", "sleep", "futex"]
    assert told["held"] <= lock["max_nsecs"] <= told["whole"]


@tracer
def test_pylock(python, programs):
    rows, (told,) = tool(python, "lock", f"{programs}kernel_waits.py", "waits")
    longest = max((r for r in rows if r["function"] == "waits"), key=lambda r: r["nsecs"])
    assert told["held"] <= longest["max_nsecs"] <= longest["nsecs"] <= told["whole"]
    assert longest["lock"].startswith("0x")
    assert not [r for r in rows if r["function"] == "naps" and r["nsecs"] > 20 * MSEC]


@tracer
def test_pyfaults(python, programs):
    rows, _ = tool(python, "faults", f"{programs}kernel_waits.py", "faults")
    faults = {r["function"]: r["faults"] for r in of_file(rows, f"{programs}kernel_waits.py")}
    assert 500 <= faults["touches"] <= 600
    assert 300 <= faults["touches_in_thread"] <= 400


@tracer
def test_pycpu(python, programs):
    rows, _ = tool(python, "cpu", f"{programs}kernel_waits.py", "cpu")
    samples = {r["function"]: r["samples"] for r in rows}
    assert set(samples) - {"[no Python]"} == {r["function"] for r in rows if r["file"]}
    # 0.6 and 0.2 seconds at 99 Hz.
    assert 30 <= samples["long_loop"] <= 80
    assert 1.5 <= samples["long_loop"] / samples["short_loop"] <= 6


# ---- stacks ----

STACKS = """\
tracepoint:syscalls:sys_enter_write / args->fd == 1000 /
{
    $size = args->count;
    $stack = python_stack();
    $fn = python_function();
    @written[$size, $stack] = count();
    @leaf[$size, $fn] = count();
}

tracepoint:sched:sched_switch / pid == python_pid() && args->prev_state == 1 /
{
    $stack = python_stack();
    @asleep[tid, $stack] = count();
}
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "stacks.bt").write_text(STACKS)
    return str(tmp_path / "stacks.bt")


def places(row: dict) -> list:
    return [[place["function"], place["file"], place["line"]] for place in row["stack"]]


def assert_stacks(rows: list[dict], told: dict):
    written = {r["size"]: places(r) for r in rows if r["table"] == "written"}
    assert len(told["stacks"]) > 50
    for number, stack in enumerate(told["stacks"], 1):
        assert written[number] == stack
    assert len(written) == len(told["stacks"]) == sum("written" in r for r in rows)
    leaves = {r["size"]: r["function"] for r in rows if r["table"] == "leaf"}
    assert set(leaves.values()) == {"check"}
    assert len(leaves) == len(written)
    tid, stack, by_faulthandler = told["asleep"]
    assert [name.rpartition(".")[2] for name, *_ in stack] == by_faulthandler
    assert stack in [places(r) for r in rows if r["table"] == "asleep" and r["tid"] == tid]


@tracer
def test_stacks(python, programs, script):
    """Of a user's own script, at a system call and at the scheduler's event."""
    words = ["trace", script, "-f", "json", "-o", "/dev/stderr"]
    command = start(python, *words, "--", f"{programs}kernel_stacks.py")
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, err
    (told,) = objects(out)
    assert_stacks([o for o in checked(err) if o["type"] == "row"], told)


@contextlib.contextmanager
def held(python, *words: str):
    """A program that says a pid and waits for a line of input."""
    process = subprocess.Popen(
        list(words), env=python.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def by_pid(python, script: str, pid: int, process) -> tuple[list[dict], dict]:
    command = start(python, "trace", script, "-f", "json", "-p", str(pid))
    wait_for_start(command)
    # Nothing is attached to Python.
    for one in objects(run(python, "ps", "-f", "json").stdout):
        assert one["pid"] != pid or not one["traced"], one
    process.stdin.write("go\n")
    process.stdin.flush()
    told = json.loads(process.stdout.readline())
    out, err = command.communicate(timeout=60) if process.wait(60) == 0 else interrupt(command)
    assert (command.returncode, err) == (0, "")
    return [o for o in checked(out) if o["type"] == "row"], told


@tracer
def test_forked_child(python, programs, script):
    words = [python.path, "-m", "pyusdt", f"{programs}kernel_stacks.py", "fork"]
    with held(python, *words) as process:
        child = int(process.stdout.readline())
        rows, told = by_pid(python, script, child, process)
    assert_stacks(rows, told)


@tracer
def test_namespaces(python, programs, script):
    """A process whose pids are not the command's; the kernel counts by the outer ones."""
    words = ["unshare", "-m", "-p", "-f", "--mount-proc", "--propagation", "private"]
    words += [python.path, "-m", "pyusdt", f"{programs}kernel_stacks.py", "hold"]
    with held(python, *words) as process:
        assert int(process.stdout.readline()) == 1
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        with open(children) as file:
            pid = int(file.read())
        rows, told = by_pid(python, script, pid, process)
    told["asleep"][0] = next(r["tid"] for r in rows if "sleeps" in str(r.get("stack")))
    assert_stacks(rows, told)


# ---- the command ----


@tracer
def test_shown_script(python, programs):
    """What --show-script prints runs by bpftrace alone."""
    words = [python.path, "-m", "pyusdt", f"{programs}kernel_stacks.py", "hold"]
    with held(python, *words) as process:
        pid = int(process.stdout.readline())
        shown = run(python, "syscalls", "--show-script", "-p", str(pid))
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "= python_function()" not in shown.stdout
        with Bpftrace(shown.stdout, ready=False) as trace:
            trace.wait_for("pyusdt-ready")
            process.stdin.write("go\n")
            process.stdin.flush()
            count = len(json.loads(process.stdout.readline())["stacks"])
    numbers = dict(reversed(line) for line in trace_where(trace.output))
    writes = [
        int(line.rpartition(" ")[2])
        for line in trace.lines
        if line.startswith(f"@calls[{numbers['check']}, 1]")
    ]
    assert writes == [count]


def trace_where(output: str):
    for line in output.split("\n"):
        if line.startswith("@where["):
            key, _, value = line.partition("]: ")
            yield key.removeprefix("@where["), value.strip("()").split(", ")[0]


@tracer
@pytest.mark.parametrize("words", [["syscalls"], ["trace", "-e", STACKS]])
def test_of_which_process(python, words):
    done = run(python, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "give -p PID, -n NAME or -- script.py" in done.stderr


def test_words_of_the_kernel():
    """What the tools' keys are shown as."""
    word = module("kernel").word
    assert [word("syscall", n) for n in (-1, -2)] == ["-", "?"]
    assert word("syscall", 0) != "-"
    assert [word("state", n) for n in (0, 1, 2, 256)] == ["runnable", "sleep", "disk", "runnable"]
    assert word("lock", 255) == "0xff"
