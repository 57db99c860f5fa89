"""A relay that stops loses no event: it sends what it has begun, and returns the others to the outbox."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import CatgaError, CatgaMediator, Command
from catga_core.reliability import OutboxRelay
from catga_testing.waiting import eventually
from tests.core.reliability.outbox_support import Place_, Placed, Wire, placing
from tests.core.support import Gate
from tests.stores import Place


async def test_a_relay_that_stops_ends_what_it_sends_and_gives_back_the_rest(place: Place):
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    wire, other = Wire(lambda event: stuck()), Wire()
    catga = placing(place, wire)
    async with catga.running() as app:
        relay = app.get(OutboxRelay)
        await app.mediator.send(Place_((1, 2, 3)))
        await gate.reached()
        relay._lasting = lambda: True
        stopping = asyncio.create_task(relay.stop())
        await asyncio.sleep(0.01)
        assert not stopping.done()
        gate.open()
        await stopping
        assert wire.events == [Placed(1)]
        # Due at once, for whoever comes next.
        async with placing(place, other).running():
            await eventually(lambda: other.events == [Placed(2), Placed(3)])


async def test_a_relay_whose_stop_takes_too_long_gives_everything_back(place: Place):
    gate = Gate()

    async def stuck() -> None:
        await gate.pass_through()

    wire, other = Wire(lambda event: stuck()), Wire()
    async with placing(place, wire).running() as app:
        relay = app.get(OutboxRelay)
        await app.mediator.send(Place_((1, 2)))
        await gate.reached()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await relay.stop()
        async with placing(place, other).running():
            await eventually(lambda: other.events == [Placed(1), Placed(2)])


async def test_what_could_not_be_sent_when_the_container_stops_is_sent_by_the_next(place: Place):
    broken, wire = Wire(lambda event: CatgaError("no", code="TRANSPORT_FAILED")), Wire()
    async with placing(place, broken).running() as app:
        await app.mediator.send(Place_((1, 2, 3)), message_id="c-1")
        await eventually(lambda: broken.tries)
    async with placing(place, wire).running():
        await eventually(lambda: wire.events == [Placed(1), Placed(2), Placed(3)])

    assert broken.sent == []
    assert {context.correlation_id for _, context in wire.sent} == {"c-1"}


async def test_what_is_only_in_memory_is_sent_before_the_container_stops(memory: Place):
    seen: list[int] = []

    async def handle(message: Placed, mediator: CatgaMediator) -> None:
        seen.append(message.number)
        if message.number < 3:
            await mediator.publish(Placed(message.number + 1))

    catga = placing(memory, outbox_poll_seconds=60)
    catga.add_handlers(handle)
    async with catga.running() as app:
        await app.mediator.send(Place_())

    assert seen == [1, 2, 3]


async def test_what_a_message_in_flight_publishes_while_the_container_stops_is_sent(memory: Place):
    gate = Gate()
    wire = Wire()

    class Slow(Command[None]):
        pass

    async def slow(message: Slow, mediator: CatgaMediator) -> None:
        await gate.pass_through()
        await mediator.publish(Placed(9))

    catga = placing(memory, wire)
    catga.add_handlers(slow)
    async with catga.running() as app:
        sending = asyncio.create_task(app.mediator.send(Slow()))
        await gate.reached()
        asyncio.get_running_loop().call_later(0.05, gate.open)

    assert (await sending).is_success
    assert wire.events == [Placed(9)]
