"""What was, what has changed since, and everything that has happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from catga_core import Event
from catga_core.errors import ConcurrencyError, StreamNotFoundError
from catga_core.event_sourcing import (
    MISSING,
    Aggregate,
    AggregateRepository,
    Change,
    EventTypes,
    LogEventStore,
    Snapshots,
    apply,
    every,
)
from catga_core.interfaces import ANY, EventLog, EventRecord, SnapshotStore, StreamAppend
from catga_core.memory.stores import memory_stores
from catga_testing import ManualClock
from catga_testing.clock import START


class Added(Event):
    item: str


class Noted(Event):
    text: str


@dataclass
class Cart(Aggregate):
    items: list[str] = field(default_factory=list)
    note: str = ""

    @apply
    def added(self, event: Added) -> None:
        self.items.append(event.item)

    @apply
    def noted(self, event: Noted) -> None:
        self.note = event.text


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> LogEventStore:
    return LogEventStore(memory_stores(clock)[EventLog], EventTypes(), clock)


@pytest.fixture(params=["replayed", "with snapshots"])
async def carts(
    store: LogEventStore, clock: ManualClock, request: pytest.FixtureRequest
) -> AggregateRepository[Cart]:
    """A cart with one event at each of the seconds 0, 10, 20 and 30."""
    snapshots = None
    if request.param == "with snapshots":
        kept = memory_stores(clock)[SnapshotStore]
        snapshots = Snapshots(kept, every(2), keep=9, clock=clock)
    carts = AggregateRepository(Cart, store, snapshots=snapshots)
    for event in (Added("tea"), Added("milk"), Noted("fragile"), Added("sugar")):
        cart = await carts.load_or_new("1")
        cart.raise_event(event)
        await carts.save(cart)
        clock.advance(10)
    return carts


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
        (at(-1), 0),
        (at(0), 1),
        (at(19.999999), 2),
        (at(20), 3),
        (at(999), 4),
    ],
)
async def test_a_state_is_as_it_was_at_a_version_or_at_a_time(
    carts: AggregateRepository[Cart], moment: Any, version: int
) -> None:
    cart = await carts.state_at("1", moment)
    assert cart.version == version
    assert cart.items == ["tea", "milk", "sugar"][: version - (version > 2)]
    assert cart.note == ("fragile" if version > 2 else "")


async def test_a_time_is_followed_up_to_the_first_later_event_though_another_clock_was_behind(
    carts: AggregateRepository[Cart], store: LogEventStore
) -> None:
    name, schema_version, format, data = store.types.encode(Added("early"))
    early = EventRecord("e-5", name, schema_version, format, data, 0)
    await store.log.append([StreamAppend("cart-1", ANY, [early])])
    assert (await carts.state_at("1", at(25))).version == 3
    assert (await carts.state_at("1", at(30))).version == 5


async def test_a_version_that_is_not_there_is_told_with_the_newest(carts: AggregateRepository[Cart]) -> None:
    with pytest.raises(
        StreamNotFoundError, match="version 7 of Cart '1' was not found: its stream 'cart-1' is at version 4"
    ):
        await carts.state_at("1", 7)
    with pytest.raises(StreamNotFoundError, match="has no events"):
        await carts.state_at("2", 1)


@pytest.mark.parametrize("moment", [-1, 1.0, "1", None, True, datetime(2030, 1, 1)])  # noqa: DTZ001 - the mistake
async def test_what_is_no_moment_is_refused(carts: AggregateRepository[Cart], moment: Any) -> None:
    with pytest.raises(ValueError):
        await carts.state_at("1", moment)
    with pytest.raises(ValueError):
        await carts.diff("1", 0, moment)


async def test_a_past_state_cannot_overwrite_the_present(carts: AggregateRepository[Cart]) -> None:
    cart = await carts.state_at("1", 2)
    cart.raise_event(Added("salt"))
    with pytest.raises(ConcurrencyError):
        await carts.save(cart)


async def test_a_difference_tells_the_fields_and_the_events_between(carts: AggregateRepository[Cart]) -> None:
    difference = await carts.diff("1", 1, at(20))
    assert (difference.from_version, difference.to_version) == (1, 3)
    assert difference.changes == {
        "items": Change(["tea"], ["tea", "milk"]),
        "note": Change("", "fragile"),
    }
    assert [stored.event for stored in difference.events] == [Added("milk"), Noted("fragile")]
    assert (difference.before.items, difference.after.note) == (["tea"], "fragile")


async def test_nothing_has_changed_between_a_moment_and_itself(carts: AggregateRepository[Cart]) -> None:
    difference = await carts.diff("1", 2, 2)
    assert (difference.changes, difference.events) == ({}, ())


async def test_moments_are_given_in_their_order(carts: AggregateRepository[Cart]) -> None:
    with pytest.raises(ValueError, match="give the earlier one first"):
        await carts.diff("1", 3, 2)


async def test_a_field_that_was_not_there_is_missing(store: LogEventStore) -> None:
    class Growing(Aggregate):
        @apply
        def added(self, event: Added) -> None:
            self.later = event.item

    growing = AggregateRepository(Growing, store)
    await growing.update("1", lambda one: one.raise_event(Added("tea")), create=True)
    difference = await growing.diff("1", 0, 1)
    assert difference.changes == {"later": Change(MISSING, "tea")}
    assert repr(difference.changes["later"].before) == "MISSING"


async def test_the_history_has_everything_with_its_time(carts: AggregateRepository[Cart]) -> None:
    history = [(each.version, each.recorded_at) async for each in carts.history("1")]
    assert history == [(1, at(0)), (2, at(10)), (3, at(20)), (4, at(30))]
    assert [each.version async for each in carts.history("1", backward=True)] == [4, 3, 2, 1]
    assert [each async for each in carts.history("2")] == []
