"""A command that a handler sends in its unit of work: a savepoint, whose failure is its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catga_core import CatgaError, CatgaMediator, Command, Event, EventHandler, EventStore, RequestHandler
from catga_testing.waiting import eventually
from tests.stores import Place

heard: list[str] = []


class Noted(Event):
    what: str


class Reserve(Command[int]):
    item: str
    fails: str = ""


class Order(Command[str]):
    items: list[str]
    failing: list[str]
    fails: bool = False
    at_once: bool = False


class ReserveHandler(RequestHandler[Reserve, int]):
    def __init__(self, store: EventStore, mediator: CatgaMediator) -> None:
        self.store = store
        self.mediator = mediator

    async def handle(self, message: Reserve) -> int:
        version = (await self.store.append("stock", Noted(message.item))).version
        await self.mediator.publish(Noted(message.item))
        if message.fails:
            raise CatgaError(f"no {message.item} left", code=message.fails, details={"item": message.item})
        return version


class OrderHandler(RequestHandler[Order, str]):
    def __init__(self, store: EventStore, mediator: CatgaMediator) -> None:
        self.store = store
        self.mediator = mediator

    async def handle(self, message: Order) -> str:
        await self.store.append("orders", Noted("begun"))
        sends = [
            self.mediator.send(Reserve(item, "OUT_OF_STOCK" if item in message.failing else ""))
            for item in message.items
        ]
        results = await asyncio.gather(*sends) if message.at_once else [await each for each in sends]
        await self.store.append("orders", Noted("ended"))
        if message.fails:
            raise ValueError("refused after all")
        return ",".join("ok" if each.is_success else each.error.code for each in results)


class Hear(EventHandler[Noted]):
    async def handle(self, message: Noted) -> None:
        heard.append(message.what)


async def events(app: Any, stream: str) -> list[str]:
    return [each.event.what async for each in app.event_store.read(stream)]


def shop(place: Place) -> Any:
    heard.clear()
    catga = place.container(enable_outbox=True)
    catga.add_handlers(ReserveHandler, OrderHandler, Hear)
    return catga


async def test_nested_command_that_fails_is_rolled_back_alone_and_keeps_its_code(place: Place) -> None:
    async with shop(place).running() as app:
        result = await app.mediator.send(Order(["lamp", "desk", "bed"], failing=["desk"]))
        await eventually(lambda: len(heard) == 2)

        assert result.unwrap() == "ok,OUT_OF_STOCK,ok"
        assert await events(app, "orders") == ["begun", "ended"]
        assert await events(app, "stock") == ["lamp", "bed"]
        assert sorted(heard) == ["bed", "lamp"]


async def test_outer_command_that_fails_rolls_back_nested_commands(place: Place) -> None:
    async with shop(place).running() as app:
        result = await app.mediator.send(Order(["lamp", "desk"], failing=["desk"], fails=True))

        assert (result.error.code, result.error.details["exception"]) == ("HANDLER_FAILED", "ValueError")
        assert await events(app, "orders") == await events(app, "stock") == []
        assert heard == []


async def test_nested_command_that_fails_first_leaves_the_rest(place: Place) -> None:
    async with shop(place).running() as app:
        async with app.unit_of_work():
            failed = await app.mediator.send(Reserve("desk", "OUT_OF_STOCK"))
            ended = await app.mediator.send(Reserve("lamp"))
        await eventually(lambda: len(heard) == 1)

        assert (failed.error.code, dict(failed.error.details)) == ("OUT_OF_STOCK", {"item": "desk"})
        assert ended.unwrap() == 1
        assert await events(app, "stock") == heard == ["lamp"]


async def test_nested_commands_at_once_are_kept_or_rolled_back_as_a_whole(place: Place) -> None:
    async with shop(place).running() as app:
        kept = await app.mediator.send(Order(["lamp", "bed"], failing=[], at_once=True))
        failed = await app.mediator.send(Order(["lamp", "desk", "bed"], failing=["desk"], at_once=True))

        assert kept.unwrap() == "ok,ok"
        there = await events(app, "stock")
        if failed.is_success:
            # They did not overlap after all: each was handled without a wait.
            assert sorted(there) == ["bed", "bed", "lamp", "lamp"]
        else:
            assert failed.error.code == "PERSISTENCE_FAILED"
            assert sorted(there) == ["bed", "lamp"]
            assert await events(app, "orders") == ["begun", "ended"]


@pytest.mark.parametrize("depth", [1, 3])
async def test_failure_deep_inside_is_tolerated_at_any_level(place: Place, depth: int) -> None:
    async with shop(place).running() as app:

        async def nest(left: int) -> None:
            async with app.unit_of_work():
                await app.event_store.append(f"level-{left}", Noted(str(left)))
                if left == 0:
                    raise LookupError("deep")
                try:
                    await nest(left - 1)
                except LookupError:
                    if left < depth:
                        raise

        await nest(depth)

        for level in range(depth + 1):
            assert await events(app, f"level-{level}") == ([str(level)] if level == depth else [])
