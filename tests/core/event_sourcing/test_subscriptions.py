from __future__ import annotations

import pytest

from catga_core import CatgaContainer, Event
from catga_core.event_sourcing.subscriptions import Delivery, Start, Subscriptions, add_subscription
from catga_core.interfaces import LockProvider, StoredEvent
from tests.core.event_sourcing.consuming import (
    Deposited,
    Opened,
    Recorder,
    Table,
    Unasked,
    container_at,
    deposit,
    document,
    fast,
)
from tests.stores import Place


async def test_a_function_is_given_the_events_it_asks_for_in_the_order_of_the_log(place: Place) -> None:
    recorder = Recorder()

    async def listen(event: Opened | Deposited, stored: StoredEvent) -> None:
        recorder.note((type(event).__name__, stored.position))

    catga = container_at(place)
    add_subscription(catga, "listener", listen, **fast())
    async with catga.running() as app:
        await app.event_store.append("account-a", [Opened("a"), Unasked(1), Deposited("a", 3)])
        await app.get(Subscriptions).caught_up("listener")

    assert recorder.seen == [("Opened", 1), ("Deposited", 3)]


async def test_a_class_takes_services_in_its_constructor_and_a_function_after_the_event(place: Place) -> None:
    class Totals:
        def __init__(self, table: Table) -> None:
            self.table = table

        async def handle(self, event: Deposited) -> None:
            await self.table.add("class", event.account, event.amount)

    async def totals(event: Deposited, table: Table) -> None:
        await table.add("function", event.account, event.amount)

    catga = container_at(place)
    add_subscription(catga, "class", Totals, delivery=Delivery.EXACTLY_ONCE, **fast())
    add_subscription(catga, "function", totals, delivery=Delivery.EXACTLY_ONCE, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 2, times=3)
        for name in ("class", "function"):
            await app.get(Subscriptions).caught_up(name)
            assert await document(app, name) == {"a": 6}


async def test_only_streams_of_the_pattern_are_followed(place: Place) -> None:
    recorder = Recorder()
    catga = container_at(place)

    async def listen(event: Event, stored: StoredEvent) -> None:
        recorder.note(stored.stream_id)

    add_subscription(catga, "orders", listen, stream="order-?", **fast())
    async with catga.running() as app:
        for stream in ("order-1", "order-12", "account-1", "order-2"):
            await app.event_store.append(stream, Unasked(1))
        await app.get(Subscriptions).caught_up("orders")

    assert recorder.seen == ["order-1", "order-2"]


@pytest.mark.parametrize(
    ("start", "expected"), [(Start.BEGINNING, [1, 2, 3, 4]), (Start.NOW, [4]), (2, [3, 4])]
)
async def test_it_begins_where_it_is_told(place: Place, start: Start | int, expected: list[int]) -> None:
    recorder = Recorder()
    catga = container_at(place)

    async def listen(event: Unasked) -> None:
        recorder.note(event.number)

    add_subscription(catga, "listener", listen, start=start, **fast())
    async with container_at(place).running() as app:
        await app.event_store.append("stream", [Unasked(1), Unasked(2), Unasked(3)])
    async with catga.running() as app:
        await app.event_store.append("stream", Unasked(4))
        await app.get(Subscriptions).caught_up("listener")

    assert recorder.seen == expected


async def test_nothing_is_left_out_that_came_after_the_first_start_whoever_does_the_work_first(
    place: Place,
) -> None:
    recorder = Recorder()

    async def listen(event: Unasked) -> None:
        recorder.note(event.number)

    def listening() -> CatgaContainer:
        catga = container_at(place)
        add_subscription(catga, "listener", listen, start=Start.NOW, **fast())
        return catga

    async with container_at(place).running() as other:
        locks = other.get(LockProvider)
        await other.event_store.append("stream", Unasked(1))
        held = await locks.acquire("subscription:listener", lease=60)
        assert held is not None
        async with listening().running() as first:
            # It has not had its turn before it ends.
            await first.event_store.append("stream", Unasked(2))
        await locks.release(held)
    async with listening().running() as second:
        await second.event_store.append("stream", Unasked(3))
        await second.get(Subscriptions).caught_up("listener")

    assert recorder.seen == [2, 3]


async def test_it_goes_on_where_it_was_whatever_it_is_told_to_begin_with(place: Place) -> None:
    recorder = Recorder()

    async def listen(event: Unasked) -> None:
        recorder.note(event.number)

    for number in (1, 2, 3):
        async with container_at(place).running() as app:
            await app.event_store.append("stream", Unasked(number))
        catga = container_at(place)
        add_subscription(catga, "listener", listen, start=Start.BEGINNING, **fast())
        async with catga.running() as app:
            await app.get(Subscriptions).caught_up("listener")

    assert recorder.seen == [1, 2, 3]
