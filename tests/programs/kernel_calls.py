"""Calls that the kernel sees, from functions of every kind: os.getppid() as often as said,
and bytes through files, pipes and sockets.  Prints what it did, as JSON."""

import json
import os
import socket
import threading

calls = {}
sent = {}


def call(times, name):
    """Not a function's own: os.getppid itself is C, called by C."""
    calls[name] = calls.get(name, 0) + times
    return [None] * times


def nothing():
    pass


def leaf(n=3):
    for _ in call(n, "leaf"):
        os.getppid()


def outer():
    def inner():
        for _ in call(5, "outer.<locals>.inner"):
            os.getppid()

    for _ in call(2, "outer"):
        os.getppid()
        nothing()
    inner()


class Counter:
    def __init__(self):
        for _ in call(2, "Counter.__init__"):
            os.getppid()

    def method(self):
        for _ in call(7, "Counter.method"):
            os.getppid()
        leaf()

    @property
    def value(self):
        os.getppid()
        call(1, "Counter.value")

    call(1, "Counter")
    os.getppid()


def generator():
    for _ in call(4, "generator"):
        os.getppid()
        yield


async def coroutine():
    for _ in call(6, "coroutine"):
        os.getppid()


async def awaits():
    await coroutine()
    os.getppid()
    call(1, "awaits")


def größe():
    for _ in call(8, "größe"):
        os.getppid()


def 日本():
    for _ in call(9, "日本"):
        os.getppid()


def 𐤀():
    for _ in call(10, "𐤀"):
        os.getppid()


def key(item):
    os.getppid()
    call(1, "key")
    return item


def in_thread():
    for _ in call(11, "in_thread"):
        os.getppid()


def by_c():
    """Called from C, which is called from here."""
    list(map(os.getppid.__call__, ()))
    for _ in call(12, "by_c"):
        os.getppid()


def recursive(n):
    if n:
        recursive(n - 1)
    else:
        os.getppid()
        call(1, "recursive")


def thrown_away():
    """Code objects that come one after another at the same address."""
    for i in range(40):
        name = f"once_{i}"
        scope = {"os": os}
        exec(f"def {name}():\n for _ in range({i + 1}): os.getppid()\n{name}()", scope)
        calls[name] = i + 1


def send(file, count):
    sent["send"] = sent.get("send", 0) + count
    os.write(file, b"x" * count)


def receive(file, count):
    sent["receive"] = sent.get("receive", 0) + len(os.read(file, count))


def vectors(file):
    os.writev(file, [b"ab", b"cde"])
    os.pwrite(file, b"1234567", 0)
    buffer = bytearray(5)
    os.preadv(file, [buffer], 0)


def talk(one, other):
    one.sendall(b"y" * 1000)
    left = 1000
    while left:
        left -= len(other.recv(333))
    one.sendmsg([b"z" * 10, b"z" * 7])
    other.recvmsg(100)


def main():
    leaf()
    outer()
    counter = Counter()
    counter.method()
    _ = counter.value
    list(generator())
    try:
        awaits().send(None)
    except StopIteration:
        pass
    größe()
    日本()
    𐤀()
    sorted([3, 1, 2], key=key)
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    by_c()
    recursive(100)
    thrown_away()

    reader, writer = os.pipe()
    for count in (1, 100, 4096):
        send(writer, count)
        receive(reader, 5000)
    null = os.open("/dev/null", os.O_WRONLY)
    send(null, 12345)
    file = os.memfd_create("pages")
    vectors(file)
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    served, _ = server.accept()
    talk(client, served)
    print(json.dumps({"calls": calls, "sent": sent, "port": port}), flush=True)
    print(json.dumps([reader, writer, null, file, client.fileno(), served.fileno()]), flush=True)


main()
