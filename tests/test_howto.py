"""The how-to pages: what their commands find in the programs of docs/examples/."""

import time

import howto
import pytest
from command import checked, interrupt, run, start, wait_for_start
from conftest import tracer

MSEC = 1_000_000
REQUESTS = 5
READS = {"read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with howto.Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def watched(python, pid: int, name: str, work) -> tuple[list[dict], int]:
    """What `pyusdt NAME -p PID` prints about the work, and how long that took, in ns."""
    name, *words = name.split()
    command = start(python, name, *words, "-p", str(pid), "-f", "json")
    wait_for_start(command)
    begin = time.monotonic_ns()
    work()
    took = time.monotonic_ns() - begin
    out, err = interrupt(command)
    assert (command.returncode, err) == (0, "")
    return [one for one in checked(out) if one["type"] in ("row", "event")], took


# ---- a slow request ----


@tracer
def test_slow_request(python, neighbours, redis):
    """slow: which function; offcpu: on which system call, for how long; io: with whom."""
    with howto.shop(python, neighbours, redis) as (pid, get):
        waits = []  # by the server's own clock

        def requests():
            before = redis.spent("keys")
            for number in range(REQUESTS):
                assert get(f"/order/{number}")["customer"] == f"c{number}"
                assert len(get(f"/customer/c{number}")["orders"]) == 100
            after = redis.spent("keys")
            assert after[0] - before[0] == REQUESTS
            waits.append(after[1] - before[1])

        requests()  # everything is imported
        shop = str(howto.EXAMPLES / "shop.py")

        found, took = watched(python, pid, f"slow --include {shop} --slow-usec 1000", requests)
        calls = [one for one in found if one["type"] == "event" and one["function"] == "orders_of"]
        assert len(calls) == REQUESTS
        assert {one["file"] for one in found} == {shop}
        assert waits[-1] <= sum(one["usecs"] + 1 for one in calls) * 1000 <= took

        found, took = watched(python, pid, "offcpu", requests)
        (poll,) = (
            one
            for one in found
            if (one["syscall"], one["state"]) == ("poll", "sleep")
            and one["file"].endswith("redis/_parsers/socket.py")
        )
        assert poll["function"] == "SocketBuffer._read_from_socket"
        assert poll["times"] >= REQUESTS
        # The server may have begun before it was waited for.
        assert waits[-1] / 2 <= poll["nsecs"] <= took
        assert waits[-1] / 2 / REQUESTS <= poll["max_nsecs"]

        found, took = watched(python, pid, "io", requests)
        own = [one for one in found if one["target"] == f"127.0.0.1:{redis.port}"]
        received = [one for one in own if one["function"] == poll["function"]]
        assert {one["syscall"] for one in received} == {"recvfrom"}
        assert sum(one["calls"] for one in received) >= 2 * REQUESTS
        assert {one["syscall"] for one in found} <= READS


# ---- a blocked event loop ----


@tracer
def test_blocked_loop(python):
    if python.is_free_threaded:
        pytest.skip("pyasync.bt does not know where co_flags lies there")
    with howto.chat(python) as (pid, ask):

        def talk():
            for _ in range(REQUESTS):
                assert ask("PING") == "PONG"
                assert ask("LOGIN ann secret") == "OK"
                assert ask("SEND cat.jpg") == "OK"

        found, took = watched(python, pid, "async", talk)
        longest = {row["function"]: row["max_usecs"] for row in found if "max_usecs" in row}
        assert 50_000 <= longest["send"] <= took / 1000
        assert sorted(longest, key=longest.get, reverse=True)[:2] in (
            ["send", "login"],
            ["login", "send"],
        )

        found, took = watched(python, pid, "offcpu", talk)
        (wait,) = (
            row
            for row in found
            if row["function"].startswith("Popen.") and row["nsecs"] >= REQUESTS * 25 * MSEC
        )
        assert (wait["syscall"], wait["state"]) in [("wait4", "sleep"), ("waitid", "sleep")]
        assert wait["nsecs"] <= took

        found, _ = watched(python, pid, "cpu", talk)
        samples = {row["function"]: row["samples"] for row in found}
        assert max(samples, key=samples.get) == "digest"


# ---- a job bound by memory and garbage collection ----

SALES = 200_000


def job(python, name: str) -> list[dict]:
    program = str(howto.EXAMPLES / "report.py")
    done = run(python, name, "-f", "json", "-o", "/dev/stderr", "--", program, str(SALES))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 100
    return [one for one in checked(done.stderr) if one["type"] in ("row", "event")]


@tracer
def test_memory_and_garbage_collection(python):
    runs = [one for one in job(python, "gc") if one["type"] == "event"]
    # Every sale and its shop are a cycle: they go at the end, all at once.
    assert runs[-1]["collected"] >= SALES
    assert runs[-1]["usecs"] == max(one["usecs"] for one in runs)

    faults = {row["function"]: row["faults"] for row in job(python, "faults")}
    top = sorted(faults, key=faults.get, reverse=True)
    assert {"load", "Sale.__init__"} <= set(top[:3])
    # A sale is 100 bytes and more.
    assert faults["load"] + faults["Sale.__init__"] >= SALES * 100 / 4096

    samples = {row["function"]: row["samples"] for row in job(python, "cpu")}
    assert {"load", "Sale.__init__"} & set(samples)
