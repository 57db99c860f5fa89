"""What the dispatch benchmarks dispatch: the messages, the handlers, and the same done by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import msgspec

from catga_core import (
    Behavior,
    CatgaError,
    CatgaResult,
    Command,
    Event,
    EventHandler,
    Failure,
    Next,
    RequestHandler,
    Success,
    message,
)


class OrderResult(msgspec.Struct, frozen=True):
    """What the commands answer with."""

    order_id: int


class Bare(Command[OrderResult]):
    """For the pipeline with nothing in it."""

    order_id: int


class Surrounded(Command[OrderResult]):
    """For the pipeline with three behaviors."""

    order_id: int


@message(context=False)
class Plain(Command[OrderResult]):
    """For the pipeline with nothing in it, not even the context."""

    order_id: int


@message(context=False)
class PlainSurrounded(Command[OrderResult]):
    """For the pipeline with three behaviors and without the context."""

    order_id: int


class Scoped(Command[OrderResult]):
    """For the pipeline with a scope and a transient handler."""

    order_id: int


class Happened(Event):
    """For three handlers that do not wait."""

    number: int


class BareHandler(RequestHandler[Bare, OrderResult]):
    """One for good."""

    async def handle(self, message: Bare) -> OrderResult:
        """Make a result."""
        return OrderResult(message.order_id)


class SurroundedHandler(RequestHandler[Surrounded, OrderResult]):
    """One for good."""

    async def handle(self, message: Surrounded) -> OrderResult:
        """Make a result."""
        return OrderResult(message.order_id)


class PlainHandler(RequestHandler[Plain, OrderResult]):
    """One for good."""

    async def handle(self, message: Plain) -> OrderResult:
        """Make a result."""
        return OrderResult(message.order_id)


class PlainSurroundedHandler(RequestHandler[PlainSurrounded, OrderResult]):
    """One for good."""

    async def handle(self, message: PlainSurrounded) -> OrderResult:
        """Make a result."""
        return OrderResult(message.order_id)


class Work:
    """A dependency that lives as long as one message."""

    def __init__(self) -> None:
        self.done = 0


class ScopedHandler(RequestHandler[Scoped, OrderResult]):
    """A new one for each message."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def handle(self, message: Scoped) -> OrderResult:
        """Make a result."""
        return OrderResult(message.order_id)


class First(Behavior[Any, Any]):
    """Passes through."""

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Go on."""
        return await next(message)


class Second(First):
    """Passes through."""


class Third(First):
    """Passes through."""


class Counter:
    """Counts events."""

    def __init__(self) -> None:
        self.seen = 0


class CountOne(EventHandler[Happened]):
    """Counts."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    async def handle(self, message: Happened) -> None:
        """Count."""
        self.counter.seen += 1


class CountTwo(CountOne):
    """Counts."""


class CountThree(CountOne):
    """Counts."""


def failed(error: Exception) -> CatgaResult[Any]:
    """Make a failure by hand."""
    return Failure(CatgaError(str(error)))


def by_hand(handler: Any) -> Callable[[Any], Awaitable[CatgaResult[Any]]]:
    """Await a handler in `try` and wrap its value: what `send` promises, written out."""

    async def send(message: Any) -> CatgaResult[Any]:
        try:
            return Success(await handler.handle(message))
        except Exception as error:  # noqa: BLE001
            return failed(error)

    return send


def timed_by_hand(handler: Any) -> Callable[[Any], Awaitable[CatgaResult[Any]]]:
    """Do the same within `asyncio.timeout`."""

    async def send(message: Any) -> CatgaResult[Any]:
        try:
            async with asyncio.timeout(5.0):
                return Success(await handler.handle(message))
        except Exception as error:  # noqa: BLE001
            return failed(error)

    return send


def nested_by_hand(
    inner: Callable[[Any], Awaitable[CatgaResult[Any]]],
) -> Callable[[Any], Awaitable[CatgaResult[Any]]]:
    """Three hand-nested awaits around the same."""

    async def third(message: Any) -> CatgaResult[Any]:
        return await inner(message)

    async def second(message: Any) -> CatgaResult[Any]:
        return await third(message)

    async def first(message: Any) -> CatgaResult[Any]:
        return await second(message)

    return first


_scope: ContextVar[dict[Any, Any] | None] = ContextVar("scope", default=None)


async def scoped_by_hand(message: Any) -> CatgaResult[Any]:
    """Open a scope, make the dependency and the handler, handle, close the scope."""
    scope: dict[Any, Any] = {}
    token = _scope.set(scope)
    try:
        work = scope[Work] = Work()
        return Success(await ScopedHandler(work).handle(message))
    except Exception as error:  # noqa: BLE001
        return failed(error)
    finally:
        _scope.reset(token)


def published_by_hand(handlers: tuple[Any, Any, Any]) -> Callable[[Any], Awaitable[None]]:
    """Await three handlers, each in `try`."""
    one, two, three = handlers

    async def publish(event: Any) -> None:
        try:
            await one.handle(event)
        except Exception as error:  # noqa: BLE001
            failed(error)
        try:
            await two.handle(event)
        except Exception as error:  # noqa: BLE001
            failed(error)
        try:
            await three.handle(event)
        except Exception as error:  # noqa: BLE001
            failed(error)

    return publish
