"""Every kind of function that @pyusdt.span decorates, and that nothing else changes."""

import asyncio
import inspect
import types

import pyusdt


@pyusdt.span("function")
def function(a: int, *b, c=3, **d) -> str:
    """Of a function."""
    return a, b, c, d


assert function(1, 2, c=4, e=5) == (1, (2,), 4, {"e": 5})
assert (function.__name__, function.__qualname__) == ("function", "function")
assert (function.__doc__, function.__module__) == ("Of a function.", "__main__")
assert str(inspect.signature(function)) == "(a: int, *b, c=3, **d) -> str"


class C:
    @pyusdt.span("method")
    def method(self, x):
        return self, x

    @classmethod
    @pyusdt.span("class")
    def of_class(cls):
        return cls

    @staticmethod
    @pyusdt.span("static")
    def static(x):
        return x


c = C()
assert c.method(1) == (c, 1)
assert c.of_class() is C
assert c.static(2) == 2
assert C.method.__qualname__ == "C.method"


@pyusdt.span("raises")
def raises():
    raise KeyError("x")


try:
    raises()
except KeyError as error:
    assert error.args == ("x",) and error.__context__ is None
else:
    raise SystemExit("lost")


@pyusdt.span("async")
async def coroutine(x):
    await asyncio.sleep(0.001)
    return x


assert inspect.iscoroutinefunction(coroutine)
assert asyncio.run(coroutine(3)) == 3


@pyusdt.span("generator")
def generator(n):
    got = yield n
    with pyusdt.span("inner"):
        try:
            yield got
        except ValueError as error:
            got = error
    return got


assert inspect.isgeneratorfunction(generator)
g = generator(1)  # nothing has begun
assert next(g) == 1
assert g.send("x") == "x"
thrown = ValueError()
try:
    g.throw(thrown)
except StopIteration as stop:
    assert stop.value is thrown
g = generator(1)
next(g)
g.close()


@pyusdt.span("steps")
async def steps(n):
    got = yield n
    with pyusdt.span("inner"):
        try:
            yield got
        except ValueError as error:
            got = error
        yield got
        try:
            yield "end"
        except KeyError as error:
            raise IndexError from error


assert inspect.isasyncgenfunction(steps)


async def main():
    s = steps(1)
    assert await anext(s) == 1
    assert await s.asend("x") == "x"
    error = ValueError()
    assert await s.athrow(error) is error
    assert [x async for x in s] == ["end"]
    s = steps(1)
    await anext(s)
    await s.aclose()
    await steps(1).aclose()  # never begun
    assert await anext(s, "none") == "none"


asyncio.run(main())


@types.coroutine
def plain():
    yield from asyncio.sleep(0.001).__await__()
    return 5


old = pyusdt.span("old")(plain)


async def awaits():
    return await old()


assert asyncio.run(awaits()) == 5
print("done")
