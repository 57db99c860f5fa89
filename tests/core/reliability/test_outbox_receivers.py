"""Processes without a transport that share an outbox: no event goes to a process without its handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import CatgaContainer, CatgaMediator, Command, Event, MessageContext, message
from catga_core.builtin_plugins import add_memory_transport
from catga_core.errors import ErrorCode
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.health import HealthStatus
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.reliability import DeadLetterQueue
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.reliability.support import moved
from tests.stores import Place

_DAY = 24 * 3_600


@message(name="receivers.Ordered")
class Ordered(Event):
    number: int


@message(name="receivers.Returned")
class Returned(Event):
    number: int


class Order(Command[None]):
    count: int = 1


class Return(Command[None]):
    number: int


async def order(message: Order, mediator: CatgaMediator) -> None:
    for number in range(message.count):
        await mediator.publish(Ordered(number))


async def give_back(message: Return, mediator: CatgaMediator) -> None:
    await mediator.publish(Returned(message.number))


def sharing(place: Place, *handlers: Callable[..., Any], **options: Any) -> CatgaContainer:
    catga = place.container(enable_outbox=True, outbox_retry_delay_seconds=0.02, **options)
    catga.add_handlers(order, give_back, *handlers)
    return catga


def lines(logged: Sequence[Mapping[str, Any]], event: str) -> list[object]:
    return [each for each in logged if each["event"] == event]


@pytest.fixture
def shared(place: Place) -> Place:
    """A place that several processes may use."""
    if not place.durable:
        pytest.skip("one process has its memory for itself")
    return place


@pytest.mark.parametrize("catches_all", [False, True])
async def test_process_without_event_handlers_leaves_the_outbox_to_others(
    shared: Place, catches_all: bool
) -> None:
    seen: list[int] = []

    async def on_ordered(message: Ordered) -> None:
        seen.append(message.number)

    async def on_all(message: Event) -> None:
        assert isinstance(message, Ordered)
        seen.append(message.number)

    with capture_logs() as logged:
        async with sharing(shared).running() as web:
            await web.mediator.send(Order(3))
            health = web.health()["outbox_relay"]
            assert health.status is HealthStatus.HEALTHY
            assert "neither an event transport nor event handlers" in health.description
    assert len(lines(logged, "catga.outbox_not_relayed")) == 1

    async with sharing(shared, on_all if catches_all else on_ordered).running():
        await eventually(lambda: sorted(seen) == [0, 1, 2])


async def test_event_waits_for_the_process_that_handles_it(shared: Place) -> None:
    # Whichever relay takes an event first is chance: the wait after each of the other one's tries stays short, however often.
    briefly = {"outbox_retry_max_delay_seconds": 0.02, "outbox_max_attempts": 10_000}
    ordered: list[int] = []
    returned: list[int] = []

    async def on_ordered(message: Ordered) -> None:
        ordered.append(message.number)

    async def on_returned(message: Returned) -> None:
        returned.append(message.number)

    async with sharing(shared, on_ordered).running() as first:
        await first.mediator.send(Order(1))
        await eventually(lambda: ordered == [0])

    with capture_logs() as logged:
        async with sharing(shared, on_returned, **briefly).running() as second:
            await second.mediator.send(Return(7))
            await second.mediator.send(Order(20))
            await eventually(lambda: returned == [7])
            # Each of the twenty has been tried here, and none was taken.
            await eventually(lambda: second.health()["outbox_relay"].details["failed_attempts"] > 0)
            async with sharing(shared, on_ordered).running():
                await eventually(lambda: sorted(ordered) == [0, *range(20)])
            assert second.health()["outbox_relay"].details["unhandled"] == 0
    assert not lines(logged, "catga.outbox_send_failed")


async def test_event_waits_for_the_process_that_has_a_transport(shared: Place) -> None:
    # Whichever relay takes an event first is chance: the wait after each of the other one's tries stays short, however often.
    briefly = {"outbox_retry_max_delay_seconds": 0.02, "outbox_max_attempts": 10_000}
    seen: list[int] = []

    async def on_ordered(message: Ordered) -> None:
        seen.append(message.number)

    async def on_returned(message: Returned) -> None: ...

    def with_transport(*handlers: Callable[..., Any]) -> CatgaContainer:
        catga = sharing(shared, *handlers)
        add_memory_transport(catga, f"memory://receivers-{shared.name}")
        return catga

    async def noted(app: Any) -> bool:
        return bool(await app.get(NamedValueStore).list("catga-outbox-handled:"))

    async with with_transport(on_ordered).running() as service:
        await eventually(lambda: noted(service))
    async with sharing(shared, on_returned, **briefly).running() as script:
        await script.mediator.send(Order(3))
        await eventually(lambda: script.health()["outbox_relay"].details["failed_attempts"] > 0)
        async with with_transport(on_ordered).running():
            await eventually(lambda: sorted(seen) == [0, 1, 2])
        assert script.health()["outbox_relay"].details["unhandled"] == 0


async def test_event_that_no_process_handles_does_not_stay(place: Place) -> None:
    async def on_returned(message: Returned) -> None: ...

    with capture_logs() as logged:
        async with sharing(place, on_returned).running() as app:
            await app.mediator.send(Order(5))

            async def is_empty() -> bool:
                return (await app.outbox.stats()).pending == 0

            await eventually(is_empty)
            assert app.health()["outbox_relay"].details["unhandled"] == 5
    assert len(lines(logged, "catga.outbox_event_unhandled")) == (1 if place.durable else 0)


async def test_handler_that_was_removed_is_waited_for_a_day(shared: Place) -> None:
    clock = ManualClock()

    async def on_ordered(message: Ordered) -> None: ...

    async def on_returned(message: Returned) -> None: ...

    async with moved(sharing(shared, on_ordered), clock) as old:

        async def noted() -> bool:
            values = await old.get(NamedValueStore).list("catga-outbox-handled:")
            return list(values) == ["catga-outbox-handled:receivers.Ordered"]

        await eventually(noted)
    clock.advance(_DAY + 1)

    async with moved(sharing(shared, on_returned), clock) as new:
        await new.mediator.send(Order())
        await eventually(lambda: new.health()["outbox_relay"].details["unhandled"] == 1)


async def test_letter_of_the_outbox_is_not_replayed_to_no_handler(place: Place) -> None:
    async with sharing(place).running() as app:
        queue = app.get(DeadLetterQueue)
        letter = DeadLetter(
            id="letter",
            source=DeadLetterSource.OUTBOX,
            handler="",
            name="receivers.Ordered",
            schema_version=1,
            format=app.serializer.name,
            data=app.serializer.encode(Ordered(1)),
            context=MessageContext("m", "m"),
            code="TRANSPORT_FAILED",
            message="no connection",
            traceback=None,
            attempts=20,
            first_failed_at=0.0,
            last_failed_at=0.0,
        )
        await app.dead_letters.add(letter)

        result = await queue.replay("letter")

        assert not result.is_success
        assert result.error.code == ErrorCode.HANDLER_NOT_FOUND
        assert await queue.count() == 1
