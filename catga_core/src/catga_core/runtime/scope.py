"""One message's scope: the services that live as long as the message, closed in reverse order after it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

import msgspec

Closer = Callable[[BaseException | None], Awaitable[None] | None]


class Scope(msgspec.Struct):
    """Holds what was made for one message.

    It is opened by the pipeline around one message and closed after it, also on error and cancellation; each closer
    is told the exception the message ended with, so that a unit of work can roll back. (A Struct is made three times as
    fast as a class with `__init__`, and there is one for each message.)

    Parameters:
        instances: what was made, by service.
        closers: what closes it, in the order of making.
    """

    instances: dict[Any, Any] = {}
    closers: list[Any] = []

    async def abandon(self, error: BaseException) -> None:
        """Close everything after a message that has failed; how it ended stays, a cancellation above all.

        Parameters:
            error: what the message ended with; it is noted on it when closing fails too.
        """
        try:
            await self.close(error)
        except Exception as also:  # noqa: BLE001 - told with the first error
            error.add_note(f"closing its scope failed too: {type(also).__name__}: {also}")

    async def close(self, error: BaseException | None) -> None:
        """Close everything in reverse order; every closer runs, then the first new exception is raised.

        Parameters:
            error: what the message failed with, `None` when it succeeded.
        """
        first: BaseException | None = None
        while self.closers:
            closer = self.closers.pop()
            try:
                pending = closer(error)
                if pending is not None:
                    await pending
            except BaseException as raised:  # noqa: BLE001 - the closers that are left must still run
                # A generator that lets the message's own exception through has said nothing new.
                if raised is not error:
                    # As in nested `async with` blocks: what is further out must not commit what failed further in.
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
    """What a closed scope holds: a task that outlives its message must not make services nobody will close."""

    def __contains__(self, service: object) -> bool:
        raise _over(service)

    def __missing__(self, service: object) -> Any:
        raise _over(service)


def _over(service: object) -> LookupError:
    name = getattr(service, "__name__", service)
    return LookupError(
        f"{name} is scoped, and the message is over: ask for it while the message is being handled, "
        "or do the work in a message of its own"
    )


_OVER: dict[Any, Any] = _Over()

active_scope: ContextVar[Scope | None] = ContextVar("catga_scope", default=None)


def first_of(generator: Generator[Any, None, None]) -> Any:
    """Return the service of a `yield`-style factory.

    Raises:
        RuntimeError: when it ends without a `yield`.
    """
    try:
        return next(generator)
    except StopIteration:
        raise RuntimeError(_no_yield(generator)) from None


async def first_of_async(generator: AsyncGenerator[Any, None]) -> Any:
    """Return the service of an `async` `yield`-style factory.

    Raises:
        RuntimeError: when it ends without a `yield`.
    """
    try:
        return await anext(generator)
    except StopAsyncIteration:
        raise RuntimeError(_no_yield(generator)) from None


def closer_of_generator(generator: Generator[Any, None, None]) -> Closer:
    """Return a closer that ends a `yield`-style factory.

    Parameters:
        generator: has yielded its service; it sees the message's exception at its `yield`.
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

    Parameters:
        generator: has yielded its service; it sees the message's exception at its `yield`.
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
    """Tell whether objects of a class are closed after use: it has `aclose` or `close`."""
    return hasattr(cls, "aclose") or hasattr(cls, "close") or "__getattr__" in dir(cls)


def closer_of_object(service: object) -> Closer | None:
    """Return a closer for an object with `aclose()` or `close()`, `None` for one with neither.

    Parameters:
        service: an object the container has made, and so has to close.
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
    return f"{name} ended without a yield: a service factory yields its service once and cleans up after it"


def _second_yield(generator: object) -> str:
    name = getattr(generator, "__qualname__", "the factory")
    return f"{name} yielded twice: a service factory yields its service once and cleans up after it"
