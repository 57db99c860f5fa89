"""Sagas over every store: what ends in a unit of work with other writes, and what waits, as in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from catga_core import CatgaApp, CatgaError, Event
from catga_core.interfaces import DeadLetterStore, NamedValueStore
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import (
    Saga,
    SagaContext,
    SagaExecutor,
    SagaOptions,
    SagaResult,
    SagaState,
    add_sagas,
    saga,
)
from catga_testing.waiting import eventually
from tests.stores import Place

ONCE = RetryPolicy(max_attempts=1)
NO_LUCK = CatgaError("no luck", code="NO_LUCK")


class Given(msgspec.Struct):
    key: str = ""


class Answered(Event):
    key: str


Execute = Callable[[SagaContext], Awaitable[str]]


def saga_of(execute: Execute, name: str = "whole") -> type[Saga[Given, str]]:
    @saga(name, retry=ONCE, compensation_retry=ONCE, waits_for={Answered: lambda event: event.key})
    class Made(Saga[Given, str]):
        async def execute(self, data: Given, saga: SagaContext) -> str:
            return await execute(saga)

    return Made


async def run(
    place: Place,
    whole: type[Saga[Given, str]],
    *parts: type[Saga[Given, str]],
    meanwhile: Callable[[CatgaApp], Awaitable[object]] | None = None,
) -> SagaResult[str]:
    catga = place.container()
    add_sagas(catga, whole, *parts, options=SagaOptions(linger_seconds=0.01, poll_seconds=0.05))
    async with catga.running() as app, asyncio.timeout(20):
        executor = app.get(SagaExecutor)
        await executor.start("order-1", Given(), whole)
        if meanwhile is not None:
            await meanwhile(app)
        return await executor.result("order-1")


async def test_child_whose_last_operation_is_a_step_ends(place: Place) -> None:
    async def part(saga: SagaContext) -> str:
        return await saga.step("pack", lambda: "packed")

    async def whole(saga: SagaContext) -> str:
        return await saga.saga("ship", child, Given())

    child = saga_of(part, "part")

    assert (await run(place, saga_of(whole), child)).value == "packed"


async def test_child_that_fails_ends_the_saga_around_it(place: Place) -> None:
    undone: list[str] = []

    async def part(saga: SagaContext) -> str:
        await saga.step("pack", lambda: "packed", compensate=undone.append)
        raise NO_LUCK

    async def whole(saga: SagaContext) -> str:
        await saga.step("charge", lambda: "charged", compensate=undone.append)
        return await saga.saga("ship", child, Given())

    child = saga_of(part, "part")
    result = await run(place, saga_of(whole), child)

    assert result.state is SagaState.COMPENSATED
    assert undone == ["packed", "charged"]


@pytest.mark.parametrize("around", [False, True], ids=["alone", "as a child"])
async def test_failed_compensation_ends_the_saga_with_a_dead_letter(place: Place, around: bool) -> None:
    def undo(_: str) -> None:
        raise OSError

    async def part(saga: SagaContext) -> str:
        await saga.step("pack", lambda: "packed", compensate=undo)
        raise NO_LUCK

    async def whole(saga: SagaContext) -> str:
        return await saga.saga("ship", child, Given())

    letters: list[str] = []

    async def look(app: CatgaApp) -> None:
        async def kept() -> bool:
            letters[:] = [each.id for each in (await app.get(DeadLetterStore).find()).letters]
            return bool(letters)

        await eventually(kept)

    child = saga_of(part, "part" if around else "whole")
    result = await run(
        place, saga_of(whole) if around else child, *([child] if around else []), meanwhile=look
    )

    assert result.state is SagaState.COMPENSATION_FAILED
    assert letters[0] == ("saga:order-1/ship#1/saga" if around else "saga:order-1")


async def test_saga_waits_for_an_event_in_no_memory(place: Place) -> None:
    async def whole(saga: SagaContext) -> str:
        await saga.step("ask", lambda: "asked")
        return (await saga.wait_for(Answered, key="k")).key

    async def answer(app: CatgaApp) -> None:
        async def waits() -> bool:
            return (await app.get(SagaExecutor).status("order-1")).state is SagaState.WAITING

        await eventually(waits)
        await app.mediator.publish(Answered("k"))

    assert (await run(place, saga_of(whole), meanwhile=answer)).value == "k"


async def test_branches_steps_in_units_of_work_and_pauses_end(place: Place) -> None:
    apps: list[CatgaApp] = []

    async def whole(saga: SagaContext) -> str:
        async def count(name: str) -> str:
            async def write() -> str:
                await apps[0].get(NamedValueStore).set(name, 1)
                return name

            await saga.step(f"before {name}", lambda: None)
            return await saga.step(name, write, in_unit_of_work=True)

        while not apps:
            await asyncio.sleep(0)
        both = await saga.gather(count("a"), count("b"))
        await saga.sleep(0.05)
        return "".join(both)

    async def give(app: CatgaApp) -> None:
        apps.append(app)

    assert (await run(place, saga_of(whole), meanwhile=give)).value == "ab"


async def test_operation_inside_a_unit_of_work_is_refused(place: Place) -> None:
    apps: list[CatgaApp] = []

    async def whole(saga: SagaContext) -> str:
        while not apps:
            await asyncio.sleep(0)
        async with apps[0].storage.unit_of_work():
            await saga.step("charge", lambda: "charged")
        return ""

    async def give(app: CatgaApp) -> None:
        apps.append(app)

    result: Any = await run(place, saga_of(whole), meanwhile=give)

    assert result.state is SagaState.COMPENSATED
    assert result.error.code == "INTERNAL_ERROR"
    assert result.steps == []
