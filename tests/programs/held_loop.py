"""Coroutines of which one holds the event loop; prints the longest time of it from outside."""

import asyncio
import json
import time

SLEEP = 0.05
outside = 0


async def quick():
    await asyncio.sleep(0)


async def blocking():
    global outside
    await asyncio.sleep(0)
    begin = time.monotonic_ns()
    time.sleep(SLEEP)
    work()
    outside = max(outside, time.monotonic_ns() - begin)
    await asyncio.sleep(0)


def work():
    return sum(n for n in range(100))


async def ticks():
    for i in range(3):
        await asyncio.sleep(0)
        yield i


async def handler():
    for _ in range(3):
        await quick()
    await blocking()
    async for _ in ticks():
        pass


async def main():
    await asyncio.gather(*(handler() for _ in range(2)))


begin = time.monotonic_ns()
asyncio.run(main())
print(json.dumps([outside, time.monotonic_ns() - begin]))
