"""`add_event_publisher`: what is appended is published, over every store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catga_core import (
    CatgaApp,
    CatgaContainer,
    Event,
    EventHandler,
    Transport,
    add_catga,
    current_context,
)
from catga_core.errors import ConfigurationError, TransportError
from catga_core.event_sourcing import add_event_publisher
from catga_core.event_sourcing.subscriptions import OnFailure, Start, Subscriptions, add_subscription
from catga_core.interfaces import (
    ANY,
    DeadLetterFilter,
    EventData,
    EventRecord,
    HealthStatus,
    Inbound,
    Storage,
    StreamAppend,
)
from catga_core.memory import LocalTransport, local_bus
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_testing.waiting import eventually
from tests.core.event_sourcing.consuming import Recorder, container_at, fast
from tests.stores import Place


class Placed(Event):
    order: str
    number: int


class RushOrder(Placed):
    pass


class Shipped(Event):
    order: str


class Seen(Recorder):
    """What the handlers of one container were given."""


class OnPlaced(EventHandler[Placed]):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def handle(self, message: Placed) -> None:
        self.seen.note((message.order, message.number))


class OnShipped(EventHandler[Shipped]):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def handle(self, message: Shipped) -> None:
        self.seen.note(message.order)


def publishing(place: Place, seen: Seen, **options: Any) -> CatgaContainer:
    catga = container_at(place)
    catga.add_singleton(Seen, seen, instance=True)
    catga.add_handlers(OnPlaced, OnShipped)
    add_event_publisher(catga, **fast(**options))
    return catga


async def published(app: CatgaApp, name: str = "publisher") -> None:
    await app.get(Subscriptions).caught_up(name)


async def test_appended_events_reach_event_handlers_in_stream_order(place: Place) -> None:
    seen = Seen()
    async with publishing(place, seen).running() as app:
        for number in range(1, 6):
            for order in ("a", "b"):
                await app.event_store.append(f"order-{order}", Placed(order, number))
        await app.event_store.append("order-a", Shipped("a"))
        await published(app)

    assert [each for each in seen.seen if each[0] == "a"] == [*(("a", number) for number in range(1, 6)), "a"]
    assert [each for each in seen.seen if each[0] == "b"] == [("b", number) for number in range(1, 6)]


async def test_published_event_keeps_id_correlation_and_headers(place: Place) -> None:
    contexts: list[MessageContext] = []

    async def keep(event: Shipped) -> None:
        contexts.append(current_context())

    catga = container_at(place)
    catga.add_handlers(keep)
    add_event_publisher(catga, **fast())
    async with catga.running() as app:
        await app.event_store.append("order-1", [EventData(Shipped("1"), "the-id", {"tenant": "t"})])
        await published(app)
        [stored] = [each async for each in app.event_store.read_all()]

    [context] = contexts
    assert context.message_id == stored.message_id == "the-id"
    assert context.correlation_id == (stored.correlation_id or "the-id")
    assert context.headers == {"tenant": "t"}


async def test_only_chosen_streams_and_classes_are_published(place: Place) -> None:
    seen = Seen()
    catga = publishing(place, seen, stream="order-*", events=[Placed])

    async def on_rush(event: RushOrder) -> None:
        seen.note(("rush", event.number))

    catga.add_handlers(on_rush)
    async with catga.running() as app:
        await app.event_store.append("order-1", [Placed("1", 1), Shipped("1"), RushOrder("1", 2)])
        await app.event_store.append("cart-1", Placed("cart", 1))
        await published(app, "publisher-order-all")

    assert ("1", 1) in seen.seen
    assert ("rush", 2) in seen.seen
    assert "1" not in seen.seen
    assert ("cart", 1) not in seen.seen


async def test_published_events_are_not_published_after_a_restart(place: Place) -> None:
    if not place.durable:
        pytest.skip("the checkpoint is lost with the memory")
    seen = Seen()
    for number in (1, 2, 3):
        async with container_at(place).running() as app:
            await app.event_store.append("order-1", Placed("1", number))
        async with publishing(place, seen).running() as app:
            await published(app)

    assert seen.seen == [("1", 1), ("1", 2), ("1", 3)]


async def test_start_now_leaves_earlier_events_out(place: Place) -> None:
    seen = Seen()
    async with container_at(place).running() as app:
        await app.event_store.append("order-1", Placed("1", 1))
    async with publishing(place, seen, start=Start.NOW).running() as app:
        await app.event_store.append("order-1", Placed("1", 2))
        await published(app)

    assert seen.seen == [("1", 2)]


async def test_rolled_back_event_is_not_published(place: Place) -> None:
    seen = Seen()
    async with publishing(place, seen).running() as app:
        storage = app.get(Storage)
        with pytest.raises(ZeroDivisionError):
            async with storage.unit_of_work():
                await app.event_store.append("order-1", Placed("rolled back", 1))
                raise ZeroDivisionError
        async with storage.unit_of_work():
            await app.event_store.append("order-1", Placed("committed", 1))
        await published(app)

    assert seen.seen == [("committed", 1)]


async def test_one_of_several_processes_publishes(place: Place) -> None:
    seen = Seen()
    async with publishing(place, seen).running() as first, publishing(place, seen).running() as second:
        for number in range(10):
            await (first, second)[number % 2].event_store.append("order-1", Placed("1", number))
        await published(first)
        await published(second)

    assert seen.seen == [("1", number) for number in range(10)]


async def test_partitions_keep_the_order_within_a_stream(place: Place) -> None:
    seen = Seen()
    async with publishing(place, seen, partitions=3).running() as app:
        for number in range(5):
            for order in "abcdef":
                await app.event_store.append(f"order-{order}", Placed(order, number))
        await published(app)

    assert len(seen.seen) == 30
    for order in "abcdef":
        assert [each for each in seen.seen if each[0] == order] == [(order, number) for number in range(5)]


class Unreliable(LocalTransport):
    """Refuses the first events."""

    refusals = 5

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        if self.refusals:
            self.refusals -= 1
            raise TransportError("the server is away")
        await super().publish(message_type, event, context)


async def test_events_wait_in_order_for_a_transport_that_is_away(place: Place) -> None:
    seen = Seen()
    catga = publishing(place, seen)
    catga.add_singleton(Transport, lambda: Unreliable(local_bus("publisher-unreliable")))
    async with catga.running() as app:
        for number in range(3):
            await app.event_store.append("order-1", Placed("1", number))
        assert await seen.until(3) == [("1", 0), ("1", 1), ("1", 2)]


async def append_unknown(app: CatgaApp) -> None:
    """Append an event whose class no program of this test has, as another service does to a shared log."""
    record = EventRecord("foreign-id", "publisher.Foreign", 1, "msgpack", b"\x80", 0)
    await app.event_store.log.append([StreamAppend("order-9", ANY, [record])])


async def test_event_of_an_unknown_name_stops_the_publisher_of_all_events(place: Place) -> None:
    seen = Seen()
    async with publishing(place, seen).running() as app:
        await append_unknown(app)
        await eventually(lambda: app.health()["subscription_publisher"].details["state"] == "stopped")

        assert "publisher.Foreign" in app.health()["subscription_publisher"].description


@pytest.mark.parametrize("ignored", [True, ["publisher.Foreign"]])
async def test_ignored_unknown_event_is_not_published(place: Place, ignored: Any) -> None:
    seen = Seen()
    async with publishing(place, seen, ignore_unknown=ignored).running() as app:
        await append_unknown(app)
        await app.event_store.append("order-1", Placed("1", 1))
        await published(app)

    assert seen.seen == [("1", 1)]


class TooBig(LocalTransport):
    """Refuses one event for good."""

    async def publish(self, message_type: MessageType, event: Event, context: MessageContext, /) -> None:
        if event == Placed("1", 2):
            raise TransportError("larger than max_payload", retryable=False)
        await super().publish(message_type, event, context)


async def test_event_refused_for_good_stops_the_publisher(place: Place) -> None:
    seen = Seen()
    catga = publishing(place, seen)
    catga.add_singleton(Transport, lambda: TooBig(local_bus("publisher-stop")))
    async with catga.running() as app:
        await app.event_store.append("order-1", [Placed("1", 1), Placed("1", 2), Placed("1", 3)])
        await eventually(lambda: app.health()["subscription_publisher"].status is HealthStatus.UNHEALTHY)
        assert app.health()["subscription_publisher"].details["state"] == "stopped"

    assert seen.seen == [("1", 1)]


async def test_event_refused_for_good_is_parked_on_request(place: Place) -> None:
    seen = Seen()
    catga = publishing(place, seen, on_failure=OnFailure.PARK)
    catga.add_singleton(Transport, lambda: TooBig(local_bus("publisher-park")))
    async with catga.running() as app:
        await app.event_store.append("order-1", [Placed("1", 1), Placed("1", 2), Placed("1", 3)])
        await published(app)
        await seen.until(2)
        [letter] = (await app.dead_letters.find(DeadLetterFilter())).letters

    assert seen.seen == [("1", 1), ("1", 3)]
    assert (letter.handler, letter.code) == ("publisher", "TRANSPORT_FAILED")


async def test_log_in_memory_is_published_to_its_end_before_the_stop(place: Place) -> None:
    seen = Seen()
    async with publishing(place, seen).running() as app:
        await app.event_store.append("order-1", [Placed("1", number) for number in range(50)])

    if place.durable:
        async with publishing(place, seen).running() as app:
            await published(app)
    assert seen.seen == [("1", number) for number in range(50)]


class SlowToServe(LocalTransport):
    """Takes turns of the loop before its handlers listen, as a server's answers do."""

    async def serve(self, inbound: Inbound, /) -> None:
        for _ in range(500):
            await asyncio.sleep(0)
        await super().serve(inbound)


async def test_events_of_a_former_process_reach_this_process_over_its_transport(place: Place) -> None:
    """Nothing is published before the handlers of this process listen: an in-process transport would lose it."""
    seen = Seen()
    async with container_at(place).running() as app:
        await app.event_store.append("order-1", [Placed("1", number) for number in range(20)])
    catga = publishing(place, seen)
    catga.add_singleton(Transport, lambda: SlowToServe(local_bus("publisher-late")))
    async with catga.running():
        await seen.until(20)

    assert seen.seen == [("1", number) for number in range(20)]


async def test_outbox_of_a_former_process_reaches_this_process_over_its_transport(place: Place) -> None:
    seen = Seen()

    def relaying(*, relay: bool) -> CatgaContainer:
        catga = place.container(enable_outbox=True, enable_outbox_relay=relay)
        catga.add_singleton(Seen, seen, instance=True)
        catga.add_handlers(OnPlaced, OnShipped)
        catga.add_singleton(Transport, lambda: SlowToServe(local_bus("relay-late")))
        return catga

    async with relaying(relay=False).running() as app, app.get(Storage).unit_of_work():
        for number in range(20):
            await app.mediator.publish(Placed("1", number))
    async with relaying(relay=True).running():
        await seen.until(20)

    assert sorted(seen.seen) == [("1", number) for number in range(20)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"events": []}, "events="),
        ({"events": "Placed"}, "events='Placed'"),
        ({"events": [int]}, "events=int"),
        ({"events": [Placed, "Shipped"]}, "Shipped"),
        ({"events": 3}, "events=3"),
        ({"name": "a b"}, "'a b' cannot be the name of an event publisher"),
        ({"stream": ""}, "stream=''"),
        ({"partitions": 0}, "partitions=0"),
        ({"start": -1}, "start=-1"),
        ({"attempts": 0}, "attempts=0"),
        ({"attempts": True}, "attempts=True"),
    ],
)
def test_impossible_argument_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        add_event_publisher(add_catga(), **arguments)

    assert text in str(caught.value)


async def on_shipped(event: Shipped) -> None:
    raise AssertionError


def test_publishers_of_one_name_are_refused() -> None:
    catga = add_catga()
    add_event_publisher(catga, stream="order-*", events=[Placed])

    with pytest.raises(ConfigurationError) as caught:
        add_event_publisher(catga, stream="order-*", events=[Shipped])
    add_event_publisher(catga, stream="order-*", events=Shipped, name="shipped")
    add_event_publisher(catga, stream="cart-*")

    assert "'publisher-order-all'" in str(caught.value)
    # Both places are the application's.
    assert str(caught.value).count("test_event_publisher.py:") == 2
    assert "name=" in str(caught.value)
    with pytest.raises(ConfigurationError):
        add_subscription(catga, "shipped", on_shipped)
