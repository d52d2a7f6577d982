import contextlib
import functools


def twice(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        function(*args, **kwargs)
        return function(*args, **kwargs)

    return wrapper


def with_argument(n):
    def decorate(function):
        def inner(*args):
            return [function(*args) for _ in range(n)]

        return inner

    return decorate


@twice
def greet(name, greeting="hello"):
    return f"{greeting} {name}"


@with_argument(2)
@twice
def add(a, b):
    return a + b


@functools.lru_cache
def cached(n):
    return n


@functools.singledispatch
def kind(value):
    return "object"


@kind.register
def _(value: int):
    return "int"


@contextlib.contextmanager
def manager():
    yield "inside"


greet("you", greeting="bye")
add(1, 2)
cached(1)
cached(1)
kind(1)
kind("x")
with manager() as where:
    kind(where)
functools.partial(greet, "me")()
functools.reduce(lambda a, b: a + b, range(4))
