from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import CatgaError, CatgaResult, Command, Event, EventHandler, add_catga
from catga_testing.waiting import eventually
from tests.core.support import Gate


class Ordered(Event):
    number: int


class OrderedTwice(Ordered):
    pass


class Ask(Command[int]):
    pass


class First(EventHandler[Ordered]):
    seen: list[int]

    async def handle(self, message: Ordered) -> None:
        self.seen.append(message.number)


class Second(First):
    pass


class Fails(EventHandler[Ordered]):
    async def handle(self, message: Ordered) -> None:
        raise ValueError("no paper left")


@pytest.fixture(autouse=True)
def nothing_seen():
    First.seen = []
    Second.seen = []


async def test_an_event_reaches_every_handler_once():
    catga = add_catga()
    catga.add_handlers(First, Second)

    async with catga.running() as app:
        await app.mediator.publish(Ordered(7))

    assert (First.seen, Second.seen) == ([7], [7])


async def test_an_event_nobody_handles_is_no_error():
    async with add_catga().running() as app:
        await app.mediator.publish(Ordered(7))


@pytest.mark.parametrize("waits", [False, True])
async def test_a_failing_handler_stops_no_other_and_does_not_reach_the_publisher(
    waits: bool, log: list[MutableMapping[str, Any]]
):
    async def fails_waiting(message: Ordered) -> None:
        await asyncio.sleep(0)
        raise ValueError("no paper left")

    catga = add_catga()
    catga.add_handlers(First, fails_waiting if waits else Fails, Second)

    async with catga.running() as app:
        await app.mediator.publish(Ordered(7))
        health = catga.health()["mediator"]

    assert (First.seen, Second.seen) == ([7], [7])
    assert health.details["failed_event_handlers"] == 1
    [line] = [line for line in log if line["event"] == "catga.event_handler_failed"]
    assert line["log_level"] == "error"
    assert (line["event_type"], line["handler"], line["code"]) == (
        "Ordered",
        "fails_waiting" if waits else "Fails",
        "HANDLER_FAILED",
    )
    assert "no paper left" in line["error"]
    assert "no paper left" in line["stack"]


async def test_the_record_of_a_failing_handler_names_the_event_where_it_is_known(
    log: list[MutableMapping[str, Any]],
):
    catga = add_catga()
    catga.add_handlers(Fails)

    async with catga.running() as app:
        await app.mediator.publish(Ordered(7), message_id="evt-1")

    [line] = [line for line in log if line["event"] == "catga.event_handler_failed"]
    assert (line["message_id"], line["correlation_id"]) == ("evt-1", "evt-1")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_failed_result_of_an_event_handler_is_recorded_as_well(waits: bool):
    async def refuses(message: Ordered) -> CatgaResult[Any]:
        if waits:
            await asyncio.sleep(0)
        return CatgaResult.failure(code="NO_PAPER")

    async def refuses_at_once(message: Ordered) -> CatgaResult[Any]:
        return CatgaResult.failure(code="NO_PAPER")

    catga = add_catga()
    catga.add_handlers(refuses if waits else refuses_at_once)

    async with catga.running() as app:
        await app.mediator.publish(Ordered(7))
        failed = catga.health()["mediator"].details["failed_event_handlers"]

    assert failed == 1


async def test_handlers_that_wait_run_at_the_same_time():
    gate = Gate()

    async def one(message: Ordered) -> None:
        await gate.pass_through()

    async def two(message: Ordered) -> None:
        await gate.pass_through()

    catga = add_catga()
    catga.add_handlers(one, two)

    async with catga.running() as app:
        publishing = asyncio.ensure_future(app.mediator.publish(Ordered(7)))
        await eventually(lambda: gate.arrived == 2)
        done_too_early = publishing.done()
        gate.open()
        await publishing

    assert not done_too_early


@pytest.mark.parametrize("handlers", [1, 2])
async def test_cancelling_the_publisher_cancels_every_handler(handlers: int):
    gate = Gate()
    cancelled: list[str] = []

    async def one(message: Ordered) -> None:
        try:
            await gate.pass_through()
        except asyncio.CancelledError:
            cancelled.append("one")
            raise

    async def two(message: Ordered) -> None:
        try:
            await gate.pass_through()
        except asyncio.CancelledError:
            cancelled.append("two")
            raise

    catga = add_catga()
    catga.add_handlers(*[one, two][:handlers])

    async with catga.running() as app:
        publishing = asyncio.ensure_future(app.mediator.publish(Ordered(7)))
        await eventually(lambda: gate.arrived == handlers)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing

    assert cancelled == ["one", "two"][:handlers]


async def test_handler_of_a_base_class_gets_the_events_below_it():
    catga = add_catga()
    catga.add_handlers(First)

    async with catga.running() as app:
        await app.mediator.publish(OrderedTwice(7))

    assert First.seen == [7]


async def test_handlers_that_do_not_wait_run_in_the_order_of_registration():
    order: list[str] = []

    async def one(message: Ordered) -> None:
        order.append("one")

    async def two(message: Ordered) -> None:
        order.append("two")

    catga = add_catga()
    catga.add_handlers(two, one)

    async with catga.running() as app:
        await app.mediator.publish(Ordered(7))

    assert order == ["two", "one"]


@pytest.mark.parametrize("thing", [Ask(), 1, Ordered])
async def test_what_is_no_event_is_a_type_error(thing: Any):
    async with add_catga().running() as app:
        with pytest.raises(TypeError):
            await app.mediator.publish(thing)


async def test_publishing_on_a_container_that_does_not_run_is_an_error_of_the_publisher():
    catga = add_catga()
    with pytest.raises(CatgaError, match="is not running"):
        await catga.mediator().publish(Ordered(1))

    async with catga.running() as app:
        mediator = app.mediator

    with pytest.raises(CatgaError, match="has stopped"):
        await mediator.publish(Ordered(1))
    with pytest.raises(CatgaError, match="has stopped"):
        await mediator.publish(Ordered(1), message_id="1")


class Orders:
    class Counted(Event):
        pass


class Mail:
    class Counted(Event):
        pass


async def test_event_whose_namesake_has_the_handlers_is_logged_with_both_classes() -> None:
    async def on_counted(message: Mail.Counted) -> None:
        raise AssertionError

    catga = add_catga()
    catga.add_handlers(on_counted)
    with capture_logs() as logged:
        async with catga.running() as app:
            await app.mediator.publish(Orders.Counted())
            await app.mediator.publish(Orders.Counted())

    [line] = [each for each in logged if each["event"] == "catga.event_not_matched"]
    assert "Orders.Counted" in line["published"]
    assert "Mail.Counted" in line["handled"]
