"""A chat server on asyncio: python chat.py [PORT].  How to find what blocks its event loop:
docs/howto-blocked-loop.md.

    PING                  PONG
    LOGIN name password   OK
    SEND file             OK, once a scanner has looked at the file
"""

import asyncio
import hashlib
import subprocess
import sys

SCANNER = ["sleep", "0.05"]  # in place of a virus scanner
users = {}


def digest(password):
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"chat", 100_000)


def scan(file):
    subprocess.run([*SCANNER], check=True, stdin=subprocess.DEVNULL)


async def login(name, password):
    found = digest(password)
    return users.setdefault(name, found) == found


async def send(file):
    scan(file)
    return True


async def handle(reader, writer):
    while line := await reader.readline():
        match line.decode().split():
            case ["PING"]:
                answer = "PONG"
            case ["LOGIN", name, password]:
                answer = "OK" if await login(name, password) else "NO"
            case ["SEND", file]:
                answer = "OK" if await send(file) else "NO"
            case _:
                answer = "?"
        writer.write(answer.encode() + b"\n")
        await writer.drain()
    writer.close()


async def main(port):
    server = await asyncio.start_server(handle, "127.0.0.1", port)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
