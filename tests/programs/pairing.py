"""Activations that begin and end in every way there is; with "greenlet", switched, too."""

import asyncio
import functools
import sys
import threading


def leaf(n):
    if n % 3 == 0:
        raise ValueError(n)
    return n


def middle(n):
    try:
        return leaf(n)
    finally:
        len("")


def caught(n):
    try:
        return middle(n)
    except ValueError:
        return -1


def generator(n):
    for i in range(n):
        try:
            yield caught(i)
        except KeyError as error:
            yield str(error)


def delegating(n):
    got = yield from generator(n)
    return got


def failing():
    yield 1
    raise LookupError("in a generator")


def returning():
    yield 1
    return 2


def thrown():
    g = generator(9)
    next(g)
    g.throw(KeyError("caught inside"))
    try:
        g.throw(ValueError("not caught"))
    except ValueError:
        pass
    g = delegating(9)
    next(g)
    g.throw(KeyError("through yield from"))
    try:
        g.throw(ValueError("out"))
    except ValueError:
        pass
    fresh = generator(1)
    try:
        fresh.throw(TypeError("before it began"))
    except TypeError:
        pass
    for g in failing(), returning():
        try:
            for _ in g:
                pass
        except LookupError:
            pass


def closed():
    for make in generator, delegating:
        g = make(3)
        next(g)
        g.close()
        make(3).close()
        g = make(3)
        next(g)
        del g


def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)


def too_deep(n):
    return too_deep(n + 1)


class Context:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return True

    def __lt__(self, other):
        raise TypeError("from C")


async def leaf_task(n):
    await asyncio.sleep(0)
    if n % 2:
        raise ValueError(n)
    return n


async def cancelled():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)


async def stream():
    for i in range(3):
        yield i
        await asyncio.sleep(0)


async def tasks():
    await asyncio.gather(*(leaf_task(i) for i in range(4)), return_exceptions=True)
    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    async for _ in stream():
        pass


def everything():
    for i in range(6):
        caught(i)
    list(delegating(5))
    thrown()
    closed()
    deep(50)
    try:
        too_deep(0)
    except RecursionError:
        pass
    with Context():
        raise OSError("swallowed")
    try:
        sorted([Context(), Context()])
    except TypeError:
        pass
    sorted([3, 1, 2], key=functools.cmp_to_key(lambda a, b: a - b))
    asyncio.run(tasks())


if "greenlet" in sys.argv:
    import greenlet

    def ping(n):
        for i in range(n):
            greenlet.getcurrent().parent.switch(i)
        raise ValueError("in a greenlet")

    def switching():
        g = greenlet.greenlet(ping)
        g.switch(3)
        g.switch()
        g.switch()
        try:
            g.switch()
        except ValueError:
            pass

    switching()
everything()
threads = [threading.Thread(target=everything) for _ in range(2)]
for t in threads:
    t.start()
for t in threads:
    t.join()
