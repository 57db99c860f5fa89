"""What tens of thousands of messages leave behind: nothing."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import structlog

from catga_core import (
    Behavior,
    CatgaContainer,
    CatgaMediator,
    CatgaResult,
    Command,
    Event,
    EventHandler,
    MessageContext,
    Next,
    RequestHandler,
    add_catga,
)

MANY = 30_000
ROOM = 200
"""Blocks that caches and free lists may take; one left by each message would be 150 times as many."""


class Do(Command[int]):
    number: int


class Outer(Command[int]):
    pass


class Happened(Event):
    number: int


class DoHandler(RequestHandler[Do, int]):
    async def handle(self, message: Do) -> int:
        return message.number


class WaitingHandler(RequestHandler[Do, int]):
    async def handle(self, message: Do) -> int:
        await asyncio.sleep(0)
        return message.number


class FailingHandler(RequestHandler[Do, int]):
    async def handle(self, message: Do) -> int:
        raise ValueError(message.number)


class Passes(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(message)


class Session:
    async def aclose(self) -> None: ...


class ScopedHandler(RequestHandler[Do, int]):
    def __init__(self, session: Session, context: MessageContext) -> None:
        self.session = session
        self.context = context

    async def handle(self, message: Do) -> int:
        return message.number


class OuterHandler(RequestHandler[Outer, int]):
    def __init__(self, mediator: CatgaMediator) -> None:
        self.mediator = mediator

    async def handle(self, message: Outer) -> int:
        return (await self.mediator.send(Do(1))).unwrap()


class OnHappened(EventHandler[Happened]):
    async def handle(self, message: Happened) -> None: ...


class OnHappenedToo(EventHandler[Happened]):
    async def handle(self, message: Happened) -> None:
        await asyncio.sleep(0)


class OnHappenedAsWell(OnHappenedToo):
    pass


async def unit_of_work() -> AsyncIterator[Session]:
    yield Session()


Compose = Callable[[CatgaContainer], None]
Act = Callable[[CatgaMediator], Awaitable[Any]]


def bare(catga: CatgaContainer) -> None:
    catga.add_handlers(DoHandler)


def waiting(catga: CatgaContainer) -> None:
    catga.add_handlers(WaitingHandler)


def failing(catga: CatgaContainer) -> None:
    catga.add_handlers(FailingHandler)


def behaviors(catga: CatgaContainer) -> None:
    catga.add_handlers(DoHandler)
    for _ in range(3):
        catga.add_behavior(Passes())


def scoped(catga: CatgaContainer) -> None:
    catga.add_scoped(Session)
    catga.add_handlers(ScopedHandler)


def unit(catga: CatgaContainer) -> None:
    catga.add_scoped(Session, unit_of_work)
    catga.add_handlers(ScopedHandler)


def nested(catga: CatgaContainer) -> None:
    catga.add_handlers(DoHandler, OuterHandler)


def events(catga: CatgaContainer) -> None:
    catga.add_handlers(OnHappened)


def events_that_wait(catga: CatgaContainer) -> None:
    catga.add_handlers(OnHappened, OnHappenedToo, OnHappenedAsWell)


def nothing(catga: CatgaContainer) -> None:
    pass


def send(mediator: CatgaMediator) -> Awaitable[Any]:
    return mediator.send(Do(1))


def send_with_options(mediator: CatgaMediator) -> Awaitable[Any]:
    return mediator.send(Do(1), timeout=60, headers={"a": "b"})


def send_outer(mediator: CatgaMediator) -> Awaitable[Any]:
    return mediator.send(Outer())


def publish(mediator: CatgaMediator) -> Awaitable[Any]:
    return mediator.publish(Happened(1))


@pytest.fixture
def log_to_nowhere() -> Iterator[None]:
    """A captured log is memory too."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[drop])
    yield
    structlog.configure(processors=before)


@pytest.mark.slow
@pytest.mark.usefixtures("log_to_nowhere")
@pytest.mark.parametrize(
    ("compose", "act", "times"),
    [
        (bare, send, MANY),
        (behaviors, send, MANY),
        (scoped, send, MANY),
        (events, publish, MANY),
        (waiting, send, MANY // 10),
        (failing, send, MANY // 10),
        (unit, send, MANY // 10),
        (nested, send_outer, MANY // 10),
        (bare, send_with_options, MANY // 10),
        (nothing, send, MANY // 10),
        (events_that_wait, publish, MANY // 20),
    ],
)
async def test_messages_leave_no_cycles_and_no_memory_behind(compose: Compose, act: Act, times: int):
    catga = add_catga()
    compose(catga)

    async with catga.running() as app:
        mediator = app.mediator
        for _ in range(1_000):
            await act(mediator)
        gc.collect()
        gc.disable()
        try:
            before = sys.getallocatedblocks()
            for _ in range(times):
                await act(mediator)
            # The event loop throws cancelled timers away when it comes to its turn.
            await asyncio.sleep(0)
            unreachable = gc.collect()
            # After a collection, as before: it empties the interpreter's free lists, which any first message fills again.
            after = sys.getallocatedblocks()
        finally:
            gc.enable()

    assert unreachable == 0
    assert after - before < ROOM


async def test_overrides_that_come_and_go_leave_nothing_behind():
    class Service:
        pass

    class Holds(RequestHandler[Do, int]):
        def __init__(self, service: Service) -> None:
            self.service = service

        async def handle(self, message: Do) -> int:
            return 1

    catga = add_catga()
    catga.add_singleton(Service)
    catga.add_handlers(Holds)

    async with catga.running() as app:

        async def once() -> None:
            sender = app.mediator.sender(Do)
            with catga.override(Service, Service()), catga.override(Holds, Holds):
                await app.mediator.send(Do(1))
                await sender(Do(1))
            await sender(Do(1))

        for _ in range(50):
            await once()
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(200):
            await once()
        gc.collect()
        after = sys.getallocatedblocks()

    assert after - before < ROOM
