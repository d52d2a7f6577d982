"""`@pyusdt.span("name")`: the decorator.  Imported when it is first used."""

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from .libpyusdt import span


def _function(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def spanned(*args: Any, **kwargs: Any) -> Any:
        with span(name):
            return function(*args, **kwargs)

    return spanned


def _coroutine(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def spanned(*args: Any, **kwargs: Any) -> Any:
        with span(name):
            return await function(*args, **kwargs)

    return spanned


def _generator(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def spanned(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with span(name):
            return (yield from function(*args, **kwargs))

    return spanned


def _async_generator(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def spanned(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        # What `yield from` does, which asynchronous generators lack.
        with span(name):
            steps = function(*args, **kwargs)
            sent = thrown = None
            while True:
                try:
                    if thrown is None:
                        value = await steps.asend(sent)
                    else:
                        value = await steps.athrow(thrown)
                except StopAsyncIteration:
                    return
                finally:
                    sent = thrown = None
                try:
                    sent = yield value
                except GeneratorExit:
                    await steps.aclose()
                    raise
                except BaseException as error:
                    thrown = error

    return spanned


def decorate(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a span of this name around each of its runs."""
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"@span decorates a function or method, not {type(function).__name__}"
            " (put it below @classmethod and @staticmethod)"
        )
    if inspect.iscoroutinefunction(function):
        return _coroutine(name, function)
    if inspect.isasyncgenfunction(function):
        return _async_generator(name, function)
    if inspect.isgeneratorfunction(function):
        spanned = _generator(name, function)
        if function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE:
            spanned = types.coroutine(spanned)
        return spanned
    return _function(name, function)
