"""A loop whose tasks are eager: a task may have ended before its owner assigns it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from catga_core import CatgaContainer, CatgaMediator, CatgaOptions, Command, Event, add_catga
from catga_core.builtin_plugins import add_memory_transport
from catga_core.event_sourcing.projections import Projection, add_projection, project
from catga_core.reliability import idempotent
from catga_core.runtime import background_task
from catga_core.runtime.tasks import start_task
from catga_testing.waiting import eventually

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")


def run_eagerly(work: Coroutine[Any, Any, None]) -> None:
    def eager_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        return loop

    with asyncio.Runner(loop_factory=eager_loop) as runner:
        runner.run(asyncio.wait_for(work, 20))


class Happened(Event):
    number: int


@idempotent(key=lambda message: str(message.number))
class Do(Command[int]):
    number: int


class Cancel(Command[int]):
    waits: bool


class Totals(Projection):
    def __init__(self) -> None:
        self.numbers: list[int] = []

    @project
    async def happened(self, event: Happened) -> None:
        self.numbers.append(event.number)


handled: list[int] = []


class DoHandler:
    def __init__(self, mediator: CatgaMediator) -> None:
        self._mediator = mediator

    async def handle(self, message: Do) -> int:
        await self._mediator.publish(Happened(message.number))
        return message.number


async def on_happened(event: Happened) -> None:
    if event.number % 2:
        await asyncio.sleep(0)
    handled.append(event.number)


async def cancel(message: Cancel) -> int:
    if message.waits:
        await asyncio.sleep(0)
    raise asyncio.CancelledError


def composed(transport: str | None) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="eager", enable_outbox=True, enable_inbox=True))
    if transport is not None:
        add_memory_transport(catga, transport)
    catga.add_handlers(DoHandler, on_happened, cancel)
    add_projection(catga, Totals)
    return catga


@pytest.mark.parametrize("transport", [None, "memory://eager"])
def test_application_works_in_a_loop_with_eager_tasks(transport: str | None) -> None:
    async def scenario() -> None:
        handled.clear()
        async with catga.running() as app:
            results = await app.mediator.send_batch([Do(number) for number in range(30)], max_concurrent=7)
            again = await app.mediator.send(Do(3))
            failed = [await app.mediator.send(Cancel(waits)) for waits in (True, False)]
            store = app.event_store
            await store.append("numbers", [Happened(number) for number in range(5)])
            await eventually(lambda: len(handled) == 30 and len(app.get(Totals).numbers) == 5)

        assert [result.unwrap() for result in results] == list(range(30))
        assert again.unwrap() == 3
        assert {result.error.code for result in failed} == {"HANDLER_FAILED"}
        assert sorted(handled) == list(range(30))

    catga = composed(transport)
    run_eagerly(scenario())


@pytest.mark.parametrize("start", [background_task, start_task])
def test_task_that_ends_at_once_is_seen_as_ended(start: Callable[..., asyncio.Task[None]]) -> None:
    async def scenario() -> None:
        ended: list[bool] = []

        async def work() -> None:
            ended.append(True)

        import contextvars

        task: Awaitable[None] = start(work(), context=contextvars.Context())
        if start is background_task:
            assert ended == []
        await task
        assert ended == [True]

    run_eagerly(scenario())
