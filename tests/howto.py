"""The programs of docs/examples/, as tests/test_howto.py runs them."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

from command import until
from conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples"
# What the packages call a Redis server: in Debian's redis-tools it has one of its other names.
SERVERS = ("redis-server", "valkey-server", "redis-check-rdb")


class Redis:
    """`with Redis(directory) as redis`: a server of our own, in memory alone."""

    def __init__(self, where: Path):
        self.where = where

    def __enter__(self):
        path = next(filter(None, map(shutil.which, SERVERS)), None)
        assert path, "there is no Redis server: scripts/setup.sh redis installs it"
        program = self.where / "redis-server"  # it asks how it was called
        program.symlink_to(path)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = ["--port", str(self.port), "--save", "", "--dir", str(self.where)]
        self.process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
        until(self.answers, what="the Redis server does not answer")
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("PING").startswith("+PONG")
        return False

    def ask(self, line: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(line.encode() + b"\r\nQUIT\r\n")
            return connection.makefile("rb").read().decode()

    def spent(self, command: str) -> tuple[int, int]:
        """(how often it has run the command, nanoseconds in it by the server's own clock)."""
        found = re.search(
            rf"cmdstat_{command}:calls=(\d+),usec=(\d+)", self.ask("INFO commandstats")
        )
        return (int(found[1]), int(found[2]) * 1000) if found else (0, 0)


@contextlib.contextmanager
def shop(python, libraries: str, redis: Redis):
    """shop.py under pyusdt, with its orders: (pid, a function that requests a path)."""
    env = python.env(REDIS_URL=f"redis://127.0.0.1:{redis.port}")
    env["PYTHONPATH"] += ":" + libraries
    flask = ["-m", "flask", "--app", "shop"]
    done = subprocess.run([python.path, *flask, "fill"], env=env, cwd=EXAMPLES, check=False)
    assert done.returncode == 0
    log = redis.where / "shop.log"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [python.path, "-m", "pyusdt", *flask, "run", "--port", "0"],
            env=env,
            cwd=EXAMPLES,
            stdout=file,
            stderr=file,
        )
    try:
        port = until(
            lambda: re.search(r"Running on http://127\.0\.0\.1:(\d+)", log.read_text()),
            what="the shop does not say its port",
        )[1]

        def get(path: str):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
            connection.close()
            return answer

        yield process.pid, get
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def chat(python):
    """chat.py under pyusdt: (pid, a function that sends a line and returns the answer)."""
    process = subprocess.Popen(
        [python.path, "-m", "pyusdt", str(EXAMPLES / "chat.py")],
        env=python.env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(process.stdout.readline().split()[1])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            stream = connection.makefile("rw")

            def ask(line: str) -> str:
                stream.write(line + "\n")
                stream.flush()
                return stream.readline().strip()

            yield process.pid, ask
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
