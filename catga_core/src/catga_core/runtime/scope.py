"""`Scope`: the scoped services of one message, closed in reverse order after it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

import msgspec

Closer = Callable[[BaseException | None], Awaitable[None] | None]


class Scope(msgspec.Struct):
    """Holds the scoped services of one message.

    The pipeline opens it around a message and closes it afterwards, also on error and cancellation. Each closer receives
    the exception that the message ended with, so that a unit of work can roll back. (A Struct is created three times as
    fast as a class with `__init__`, and there is one for each message.)

    Args:
        instances: The instances, by service.
        closers: What closes them, in the order of their creation.
    """

    instances: dict[Any, Any] = {}
    closers: list[Any] = []

    async def abandon(self, error: BaseException) -> None:
        """Close everything after a failed message, without replacing its error.

        Args:
            error: The message's error or cancellation; a failure to close is added to it as a note.
        """
        try:
            await self.close(error)
        except Exception as also:  # noqa: BLE001 - noted on the first error
            error.add_note(f"Closing its scope failed too: {type(also).__name__}: {also}")

    async def close(self, error: BaseException | None) -> None:
        """Close everything in reverse order; every closer runs, then the first new exception is raised.

        Args:
            error: The message's error, `None` if it succeeded.
        """
        first: BaseException | None = None
        while self.closers:
            closer = self.closers.pop()
            try:
                pending = closer(error)
                if pending is not None:
                    await pending
            except BaseException as raised:  # noqa: BLE001 - the closers that are left must still run
                # A generator that lets the message's exception through has not failed itself.
                if raised is not error:
                    # As in nested `async with` blocks: an outer closer must not commit what failed in an inner one.
                    error = raised
                    first = first or raised
        self.instances = _OVER
        if first is not None:
            try:
                raise first
            finally:
                # The exception's traceback holds this frame; holding the exception in turn would be a cycle.
                del first, error


class _Over(dict[Any, Any]):
    """Instances of a closed scope: a task that outlives its message must not create services that are never closed."""

    def __contains__(self, service: object) -> bool:
        raise _over(service)

    def __missing__(self, service: object) -> Any:
        raise _over(service)


def _over(service: object) -> LookupError:
    name = getattr(service, "__name__", service)
    return LookupError(
        f"{name} is scoped, and its message has been handled. Request it while the message is being handled, "
        "or send a separate message."
    )


_OVER: dict[Any, Any] = _Over()

active_scope: ContextVar[Scope | None] = ContextVar("catga_scope", default=None)


def first_of(generator: Generator[Any, None, None]) -> Any:
    """Return the service of a `yield`-style factory.

    Args:
        generator: The generator, not started.

    Raises:
        RuntimeError: It ended without a `yield`.
    """
    try:
        return next(generator)
    except StopIteration:
        raise RuntimeError(_no_yield(generator)) from None


async def first_of_async(generator: AsyncGenerator[Any, None]) -> Any:
    """Return the service of an `async` `yield`-style factory.

    Args:
        generator: The generator, not started.

    Raises:
        RuntimeError: It ended without a `yield`.
    """
    try:
        return await anext(generator)
    except StopAsyncIteration:
        raise RuntimeError(_no_yield(generator)) from None


def closer_of_generator(generator: Generator[Any, None, None]) -> Closer:
    """Return a closer that ends a `yield`-style factory.

    Args:
        generator: Has yielded its service; the message's exception is raised at its `yield`.
    """

    def close(error: BaseException | None) -> None:
        try:
            if error is None:
                next(generator)
            else:
                generator.throw(error)
        except StopIteration:
            return
        except BaseException as raised:
            if raised is error:
                return
            raise
        generator.close()
        raise RuntimeError(_second_yield(generator))

    return close


def closer_of_async_generator(generator: AsyncGenerator[Any, None]) -> Closer:
    """Return a closer that ends an `async` `yield`-style factory.

    Args:
        generator: Has yielded its service; the message's exception is raised at its `yield`.
    """

    async def close(error: BaseException | None) -> None:
        try:
            if error is None:
                await anext(generator)
            else:
                await generator.athrow(error)
        except StopAsyncIteration:
            return
        except BaseException as raised:
            if raised is error:
                return
            raise
        await generator.aclose()
        raise RuntimeError(_second_yield(generator))

    return close


def is_closable(cls: type[Any]) -> bool:
    """Return whether objects of a class are closed after use: it has `aclose` or `close`."""
    return hasattr(cls, "aclose") or hasattr(cls, "close") or "__getattr__" in dir(cls)


def closer_of_object(service: object) -> Closer | None:
    """Return a closer for an object with `aclose()` or `close()`, `None` for one with neither.

    Args:
        service: An object that the container has created.
    """
    method = getattr(service, "aclose", None) or getattr(service, "close", None)
    if method is None or not callable(method):
        return None

    def close(_error: BaseException | None) -> Awaitable[None] | None:
        pending = method()
        return pending if inspect.isawaitable(pending) else None

    return close


def _no_yield(generator: object) -> str:
    name = getattr(generator, "__qualname__", "the factory")
    return f"{name} ended without a yield. Yield the service once, and clean up after it."


def _second_yield(generator: object) -> str:
    name = getattr(generator, "__qualname__", "the factory")
    return f"{name} yielded twice. Yield the service once, and clean up after it."
