"""Does a bit of everything that the tools look at, in functions of its own."""

import asyncio
import gc
import mmap
import os
import threading
import time

import pyusdt


def add(a, b=2):
    return a + b


def raises():
    try:
        raise KeyError("key")
    except KeyError:
        return sorted([3, 1, 2])


def sleeps():
    time.sleep(0.05)


def writes():
    reader, writer = os.pipe()
    for _ in range(10):
        os.write(writer, b"12345")
        os.read(reader, 5)
    os.close(reader)
    os.close(writer)


def waits():
    lock = threading.Lock()
    lock.acquire()
    thread = threading.Thread(target=lambda: (time.sleep(0.05), lock.release()))
    thread.start()
    lock.acquire()
    thread.join()


def touches():
    with mmap.mmap(-1, 400 * mmap.PAGESIZE) as memory:
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1


def spins():
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass


def imports():
    import wave

    return wave


async def holds():
    time.sleep(0.02)
    await asyncio.sleep(0)
    time.sleep(0.02)


def marks():
    pyusdt.mark("here", 1)
    with pyusdt.span("there"):
        os.getppid()


for i in range(20):
    add(i)
for function in raises, sleeps, writes, waits, touches, spins, imports, marks:
    function()
asyncio.run(holds())
gc.collect()
