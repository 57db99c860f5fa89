"""What a service is made by: a class, a factory, a generator, an object or a provider."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeGuard, get_origin

from dependency_injector.providers import Provider

from catga_core.container.di.registration import SourceKind


def kind_of(source: Any) -> SourceKind:
    """Return how something that is given for a service makes it; what makes nothing is the object itself."""
    if isinstance(source, Provider):
        return SourceKind.PROVIDER
    if isinstance(source, type) or get_origin(source) is not None:
        return SourceKind.CLASS
    plain: Any = inspect.unwrap(generator_function_of(source)) if callable(source) else source
    while is_partial(plain):
        plain = plain.func
    if not (inspect.isroutine(plain) or is_partial(source)):
        return SourceKind.INSTANCE
    tests = (
        (inspect.isasyncgenfunction, SourceKind.ASYNC_GENERATOR),
        (inspect.isgeneratorfunction, SourceKind.GENERATOR),
        (inspect.iscoroutinefunction, SourceKind.ASYNC_FACTORY),
    )
    return next((kind for test, kind in tests if test(plain)), SourceKind.FACTORY)


def generator_function_of(source: Any) -> Any:
    """Return the generator function that `contextlib` made a context manager of; any other stays as it is."""
    if is_partial(source):
        function = generator_function_of(source.func)
        return (
            source
            if function is source.func
            else functools.partial(function, *source.args, **source.keywords)
        )
    if inspect.ismethod(source):
        function = generator_function_of(source.__func__)
        return source if function is source.__func__ else types.MethodType(function, source.__self__)
    made_one = _is_function(source) and source.__code__ in _CONTEXT_MANAGERS
    return source.__wrapped__ if made_one else source


def _is_function(source: Any) -> bool:
    return inspect.isfunction(source)


def _nothing() -> Generator[None]:
    yield


async def _nothing_async() -> AsyncGenerator[None]:
    yield


# What contextlib's decorators give runs the same code for every function.
_CONTEXT_MANAGERS = {
    each.__code__
    for each in (contextlib.contextmanager(_nothing), contextlib.asynccontextmanager(_nothing_async))
}


def is_partial(source: Any) -> TypeGuard[functools.partial[Any]]:
    """Return whether a factory is a `functools.partial`."""
    return isinstance(source, functools.partial)
