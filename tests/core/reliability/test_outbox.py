"""The outbox sends an event if and only if the unit of work that published it commits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catga_core import CatgaError, CatgaMediator, Event, current_context
from catga_core.interfaces.outbox import OutboxStore
from catga_core.memory.stores import memory_stores
from catga_core.unit_of_work import active_unit_of_work
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Moved, Place_, Placed, Wire, is_empty, place_, placing
from tests.stores import Place


async def test_what_a_handler_publishes_is_sent_after_its_commit(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_())
        await eventually(lambda: wire.events == [Placed(1)])
        await eventually(lambda: is_empty(app))
        assert app.health()["outbox_relay"].details["sent"] == 1


async def test_what_a_handler_publishes_and_then_fails_is_never_sent(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_((1,), "fail"))
        await app.mediator.send(Place_((2,)))
        await eventually(lambda: Placed(2) in wire.events)

    assert wire.events == [Placed(2)]


async def test_another_event_under_an_id_of_the_outbox_is_a_conflict(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1), message_id="p-1")
        await eventually(lambda: is_empty(app))
        for other in (Placed(2), Moved("o", 1)):
            with pytest.raises(CatgaError) as refused:
                async with app.unit_of_work():
                    await app.mediator.publish(other, message_id="p-1")
            assert (refused.value.code, refused.value.retryable) == ("CONFLICT", False)
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1), message_id="p-1")
            await app.mediator.publish(Placed(3), message_id="p-3")
        await eventually(lambda: Placed(3) in wire.events)

    assert wire.events == [Placed(1), Placed(3)]


async def test_nothing_is_sent_before_the_commit(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Placed(1))
            await app.mediator.publish(Placed(2), message_id="p-2", headers={"tenant": "a"})
            assert wire.events == []
        await eventually(lambda: len(wire.sent) == 2)

    sent = {event.number: context for event, context in wire.sent}
    assert (sent[2].message_id, dict(sent[2].headers)) == ("p-2", {"tenant": "a"})


async def test_what_is_published_in_a_block_that_raises_is_never_sent(place: Place):
    async with placing(place, Wire()).running() as app:

        async def raises() -> None:
            async with app.unit_of_work():
                await app.mediator.publish(Placed(1))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await raises()
        assert await is_empty(app)


async def test_what_is_published_outside_of_any_unit_of_work_goes_out_at_once(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.publish(Placed(1))
        assert wire.events == [Placed(1)]


async def test_without_the_option_a_unit_of_work_does_not_hold_back_what_is_published(place: Place):
    wire = Wire()
    async with placing(place, wire, enable_outbox=False).running() as app, app.unit_of_work():
        await app.mediator.publish(Placed(1))
        assert wire.events == [Placed(1)]


async def test_the_event_continues_the_conversation_it_was_published_in(place: Place):
    wire = Wire()
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_(), message_id="c-1", timeout=30)
        await eventually(lambda: wire.sent)

    context = wire.sent[0][1]
    assert (context.correlation_id, context.causation_id, context.deadline) == ("c-1", "c-1", None)


async def test_an_event_that_has_no_bytes_fails_its_publisher(place: Place):
    class Odd(Event):
        what: Any

    async with placing(place).running() as app, app.unit_of_work():
        with pytest.raises(CatgaError) as raised:
            await app.mediator.publish(Odd(object()))

    assert raised.value.code == "SERIALIZATION_FAILED"


async def test_without_a_transport_the_relay_calls_this_processs_handlers(place: Place):
    seen: list[Any] = []

    async def first(message: Placed) -> None:
        # Not in the publisher's unit of work, but in its own.
        seen.append((message.number, current_context().causation_id, active_unit_of_work.get() is not None))

    async def second(message: Placed) -> None:
        raise ValueError("no paper")

    catga = placing(place)
    catga.add_handlers(first, second)
    async with catga.running() as app:
        await app.mediator.send(Place_(), message_id="c-1")
        await eventually(lambda: seen == [(1, "c-1", True)])
        await eventually(lambda: app.health()["mediator"].details["failed_event_handlers"] == 1)
        # A handler that fails is no failure to send: that is the dead letters' affair.
        await eventually(lambda: app.health()["outbox_relay"].details["sent"] == 1)


@pytest.mark.parametrize("first", [True, False])
async def test_relayed_events_handler_that_cancels_its_task_fails_alone(place: Place, first: bool) -> None:
    """The other handlers are called, the relay sends what follows, and the stop does not wait for it."""
    handled: list[int] = []
    tried: list[int] = []

    async def handle(event: Placed) -> None:
        handled.append(event.number)

    async def cancel(event: Placed) -> None:
        tried.append(event.number)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(30)

    catga = place.container(enable_outbox=True, enable_dead_letter_queue=True)
    catga.add_handlers(place_, *((cancel, handle) if first else (handle, cancel)))
    async with catga.running() as app:
        await app.mediator.send(Place_((1, 2, 3)))
        await eventually(lambda: handled == [1, 2, 3])
        await eventually(lambda: is_empty(app))
        letters = (await app.dead_letters.find()).letters

    assert tried == [1, 2, 3]
    assert [(letter.handler, letter.code) for letter in letters] == [("cancel", "HANDLER_FAILED")] * 3


async def test_a_handler_of_a_relayed_event_may_publish_in_its_turn(place: Place):
    seen: list[int] = []

    async def again(message: Placed, mediator: CatgaMediator) -> None:
        seen.append(message.number)
        if message.number < 3:
            await mediator.publish(Placed(message.number + 1))

    catga = placing(place)
    catga.add_handlers(again)
    async with catga.running() as app:
        await app.mediator.send(Place_())
        await eventually(lambda: seen == [1, 2, 3])


async def test_a_store_that_stands_in_for_the_outbox_is_filled_and_relayed_at_once(memory: Place):
    wire = Wire()
    catga = placing(memory, wire)
    async with catga.running() as app:
        other = memory_stores()[OutboxStore]
        with catga.override(OutboxStore, other):
            await app.mediator.send(Place_())
            await eventually(lambda: wire.events == [Placed(1)])
        await app.mediator.send(Place_((2,)))
        await eventually(lambda: wire.events == [Placed(1), Placed(2)])
