"""A handler that blocks the event loop is named, with how long it did."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import (
    CatgaApp,
    CatgaContainer,
    CatgaOptions,
    Command,
    Event,
    EventHandler,
    RequestHandler,
    StreamHandler,
    StreamQuery,
    add_catga,
)
from catga_core.event_sourcing.projections import Projection, add_projection, project
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.features.loop_monitor.code_names import CodeNames
from catga_core.features.loop_monitor.monitor import LoopMonitor
from catga_core.reliability import LoopMonitorOptions, add_loop_monitor
from catga_testing.waiting import eventually

_LIMIT = 0.1
_BLOCK = 0.8  # long enough for the monitor's thread to get its turns on a machine under load


def block(seconds: float) -> None:
    """Keep the thread busy; `time.sleep` would be found by the tests' own guard."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


class Work(Command[None]):
    seconds: float


class Worked(Event):
    seconds: float


class Pages(StreamQuery[int]):
    seconds: float


class WorkHandler(RequestHandler[Work, None]):
    async def handle(self, message: Work) -> None:
        self.compute(message.seconds)

    def compute(self, seconds: float) -> None:
        block(seconds)


class WorkedHandler(EventHandler[Worked]):
    async def handle(self, message: Worked) -> None:
        await asyncio.sleep(0)
        block(message.seconds)


class PagesHandler(StreamHandler[Pages, int]):
    async def handle(self, message: Pages) -> AsyncIterator[int]:
        yield 1
        block(message.seconds)
        yield 2


class Blocking(Projection):
    @project
    async def worked(self, event: Worked) -> None:
        block(event.seconds)


async def work(message: Work) -> None:
    block(message.seconds)


async def subscribed(event: Worked) -> None:
    block(event.seconds)


def blocks_of(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["event"] == "catga.loop_blocked"]


def composed(*handlers: Any, **options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(loop_block_warning_seconds=_LIMIT))
    if options:
        add_loop_monitor(catga, LoopMonitorOptions(**options))
    catga.add_handlers(*handlers)
    return catga


async def send(app: CatgaApp) -> None:
    (await app.mediator.send(Work(_BLOCK))).unwrap()


async def publish(app: CatgaApp) -> None:
    await app.mediator.publish(Worked(_BLOCK))


async def stream(app: CatgaApp) -> None:
    assert [each async for each in app.mediator.stream(Pages(_BLOCK))] == [1, 2]


@pytest.mark.parametrize(
    ("handler", "call"),
    [(WorkHandler, send), (work, send), (WorkedHandler, publish), (PagesHandler, stream)],
)
async def test_handler_that_blocks_is_named_with_its_duration(handler: Any, call: Callable[..., Any]) -> None:
    with capture_logs() as lines:
        async with composed(handler).running() as app:
            await call(app)

    [line] = blocks_of(lines)
    assert line["log_level"] == "warning"
    assert line["handler"] == handler.__name__
    assert line["line"].startswith("test_loop_monitor.py:")
    assert _LIMIT <= line["seconds"] <= 10 * _BLOCK
    assert line["ended"] is True


async def test_blocking_consumers_are_named() -> None:
    catga = composed()
    add_subscription(catga, "slow", subscribed)
    add_projection(catga, Blocking)

    with capture_logs() as lines:
        async with catga.running() as app:
            await app.event_store.append("s", Worked(_BLOCK))
            await app.subscriptions.caught_up("slow")
            await app.projections.caught_up("Blocking")

    assert {line["handler"] for line in blocks_of(lines)} == {"subscribed", "Blocking"}


async def test_handler_that_waits_is_no_block() -> None:
    async def wait(message: Work) -> None:
        ends_at = time.monotonic() + message.seconds
        while time.monotonic() < ends_at:
            await asyncio.sleep(0)

    with capture_logs() as lines:
        async with composed(wait).running() as app:
            await send(app)

    assert blocks_of(lines) == []


async def test_many_short_calls_that_let_the_loop_go_on_are_no_block() -> None:
    async def short(message: Work) -> None:
        block(0.001)

    with capture_logs() as lines:
        async with composed(short).running() as app:
            for _ in range(400):
                await app.mediator.send(Work(0))
                await asyncio.sleep(0)

    assert blocks_of(lines) == []


async def test_many_short_calls_that_hold_up_the_loop_are_one_block() -> None:
    async def short(message: Work) -> None:
        block(0.001)

    with capture_logs() as lines:
        async with composed(short).running() as app:
            for _ in range(int(_BLOCK * 1000)):
                await app.mediator.send(Work(0))
            await asyncio.sleep(0)

    [line] = blocks_of(lines)
    assert line["handler"] == "short"


def test_handlers_of_one_name_in_one_file_are_told_apart() -> None:
    names = CodeNames()

    def first() -> Any:
        def handle() -> str | None:
            found = names.find(threading.get_ident(), 0.0)
            return None if found is None else found.handler

        return handle

    def second() -> Any:
        def handle() -> str | None:
            found = names.find(threading.get_ident(), 0.0)
            return None if found is None else found.handler

        return handle

    for number, make in enumerate((first, second), 1):
        names.add(make(), f"handler {number}")

    assert (first()(), second()()) == ("handler 1", "handler 2")
    assert names.find(threading.get_ident(), 0.0) is None


async def test_block_outside_of_handlers_is_not_theirs() -> None:
    with capture_logs() as lines:
        async with composed(WorkHandler).running():
            block(_BLOCK)

    assert blocks_of(lines) == []


async def test_warning_of_one_handler_is_not_repeated_at_once() -> None:
    with capture_logs() as lines:
        async with composed(WorkHandler).running() as app:
            await send(app)
            await asyncio.sleep(0)
            await send(app)

    assert len(blocks_of(lines)) == 1


async def test_warning_is_repeated_after_a_while() -> None:
    with capture_logs() as lines:
        async with composed(WorkHandler, warning_seconds=_LIMIT, repeat_seconds=0.01).running() as app:
            await send(app)
            await eventually(lambda: len(blocks_of(lines)) == 1)
            await send(app)

    assert len(blocks_of(lines)) == 2


@pytest.mark.parametrize("roles", [{"serve"}, {"work"}, {"admin"}])
async def test_every_role_is_watched(roles: Any) -> None:
    with capture_logs() as lines:
        async with composed(WorkHandler).running(roles=roles) as app:
            await send(app)

    assert [line["handler"] for line in blocks_of(lines)] == ["WorkHandler"]


async def test_none_starts_no_monitor() -> None:
    catga = add_catga(CatgaOptions(loop_block_warning_seconds=None))
    catga.add_handlers(WorkHandler)

    with capture_logs() as lines:
        async with catga.running() as app:
            await send(app)

    assert blocks_of(lines) == []
    assert "loop_monitor" not in catga.providers


async def test_container_that_runs_again_is_watched_again() -> None:
    catga = composed(WorkHandler, warning_seconds=_LIMIT, repeat_seconds=0.01)

    for _ in range(2):
        with capture_logs() as lines:
            async with catga.running() as app:
                await send(app)
        assert len(blocks_of(lines)) == 1


def test_stop_in_another_loop_does_not_wait_for_the_closed_one() -> None:
    monitor = LoopMonitor(CodeNames(), 0.1, 10.0)
    asyncio.run(monitor.start())

    async def stop() -> None:
        async with asyncio.timeout(5):
            await monitor.stop()

    asyncio.run(stop())


def test_loop_that_is_closed_without_a_stop_ends_the_thread() -> None:
    async def start() -> None:
        await composed(WorkHandler).running().__aenter__()

    def watching() -> int:
        return sum(each.name == "catga-loop-monitor" for each in threading.enumerate())

    before = watching()
    asyncio.run(start())

    asyncio.run(eventually(lambda: watching() <= before))
