import asyncio


class Context:
    async def __aenter__(self):
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc):
        await asyncio.sleep(0)


async def ticks(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i


async def worker(name, queue):
    while (item := await queue.get()) is not None:
        await asyncio.sleep(0)
    return name


async def fails():
    await asyncio.sleep(0)
    raise LookupError("no such thing")


async def main():
    queue = asyncio.Queue()
    tasks = [asyncio.create_task(worker(f"w{i}", queue)) for i in range(2)]
    async with Context():
        async for tick in ticks(3):
            await queue.put(tick)
    for _ in tasks:
        await queue.put(None)
    names = await asyncio.gather(*tasks)
    results = await asyncio.gather(fails(), return_exceptions=True)
    squares = [i * i async for i in ticks(2)]
    return names, len(results), squares


asyncio.run(main())
