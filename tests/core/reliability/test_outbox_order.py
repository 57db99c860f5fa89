"""The outbox sends the events of one key in order, and other keys do not wait for it."""

from __future__ import annotations

from typing import Any

import pytest

from catga_core import CatgaError, Event
from catga_core.reliability import ordered_by
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Loose, Moved, Place_, Placed, Wire, placing
from tests.core.support import Gate
from tests.stores import Place


async def test_events_of_one_conversation_are_sent_in_order_also_when_one_has_to_wait(place: Place):
    failed: list[Any] = []

    def fails(event: Any) -> Any:
        if event == Placed(2) and len(failed) < 2:
            failed.append(event)
            return CatgaError("no connection", code="TRANSPORT_FAILED")
        return None

    wire = Wire(fails)
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_(tuple(range(6))))
        await eventually(lambda: len(wire.sent) == 6)

    assert wire.events == [Placed(number) for number in range(6)]


async def test_events_of_one_unit_of_work_outside_of_any_message_are_sent_in_order(place: Place):
    wire: Wire = Wire(
        lambda event: CatgaError("later", code="TRANSPORT_FAILED") if wire.tries == [Placed(1)] else None
    )
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            for number in range(1, 4):
                await app.mediator.publish(Placed(number))
        await eventually(lambda: len(wire.sent) == 3)

    assert wire.events == [Placed(1), Placed(2), Placed(3)]
    assert len({context.correlation_id for _, context in wire.sent}) == 3


async def test_conversations_do_not_wait_for_each_other(place: Place):
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    wire = Wire(lambda event: stuck() if event == Placed(1) else None)
    async with placing(place, wire).running() as app:
        await app.mediator.send(Place_((1, 2)))
        await app.mediator.send(Place_((3, 4)))
        await eventually(lambda: wire.events == [Placed(3), Placed(4)])
        gate.open()
        await eventually(lambda: wire.events == [Placed(3), Placed(4), Placed(1), Placed(2)])


async def test_an_event_class_says_what_it_is_ordered_by(place: Place):
    def fails(event: Any) -> Any:
        once = [each for each in wire.tries if each == event] == [event]
        return CatgaError("later", code="TRANSPORT_FAILED") if once and event.number == 1 else None

    wire = Wire(fails)
    async with placing(place, wire).running() as app:
        # One conversation each, so that the orders alone say what waits for what.
        for order, number in [("a", 1), ("b", 2), ("a", 3)]:
            async with app.unit_of_work():
                await app.mediator.publish(Moved(order, number))
        await eventually(lambda: len(wire.sent) == 3)

    numbers = [event.number for event in wire.events]
    assert numbers.index(1) < numbers.index(3)
    assert numbers[0] == 2


async def test_an_event_class_without_order_waits_for_no_other(place: Place):
    wire = Wire(lambda event: CatgaError("never", code="TRANSPORT_FAILED") if event.number == 1 else None)
    async with placing(place, wire).running() as app:
        async with app.unit_of_work():
            await app.mediator.publish(Loose(1))
            await app.mediator.publish(Loose(2))
        await eventually(lambda: wire.events == [Loose(2)])


@pytest.mark.parametrize("key", ["", 7])
async def test_an_order_that_is_no_text_fails_the_publisher(place: Place, key: Any):
    @ordered_by(lambda event: key)
    class Odd(Event):
        pass

    async with placing(place).running() as app, app.unit_of_work():
        with pytest.raises(CatgaError, match=f"The key of Odd must be a non-empty str; got {key!r}"):
            await app.mediator.publish(Odd())


def test_only_events_can_be_ordered():
    with pytest.raises(TypeError, match="requires an event class; got Place_"):
        ordered_by(None)(Place_)  # type: ignore[type-var]
