"""Snapshots save time and never change what is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catga_core import ConfigurationError, Event
from catga_core.event_sourcing import (
    Aggregate,
    AggregateRepository,
    EventTypes,
    LogEventStore,
    SinceSnapshot,
    SnapshotPolicy,
    Snapshots,
    after,
    apply,
    either,
    every,
)
from catga_core.event_sourcing.snapshots import SnapshotCounts
from catga_core.memory.stores import MemoryStorage
from catga_core.messages.serialization import json_serializer
from catga_testing import ManualClock
from catga_testing.clock import START
from tests.core.event_sourcing.memory import Log, SnapshotsThatFail


class Put(Event):
    name: str
    amount: Decimal


class Dropped(Event):
    name: str


class Line(msgspec.Struct):
    name: str
    amounts: list[Decimal]


@dataclass
class Basket(Aggregate):
    KINDS: ClassVar[int] = 2
    lines: dict[str, Line] = field(default_factory=dict)
    total: Decimal = Decimal(0)
    dropped: set[str] = field(default_factory=set)

    @apply
    def put(self, event: Put) -> None:
        line = self.lines.setdefault(event.name, Line(event.name, []))
        line.amounts.append(event.amount)
        self.total += event.amount

    @apply
    def drop(self, event: Dropped) -> None:
        line = self.lines.pop(event.name, None)
        if line is not None:
            self.total -= sum(line.amounts, Decimal(0))
            self.dropped.add(event.name)


class World:
    """A log, snapshots and a clock, and repositories over them."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.log = Log(self.storage)
        self.kept = SnapshotsThatFail(self.storage)
        self.clock = ManualClock()
        self.store = LogEventStore(self.log, EventTypes(), self.clock)

    def baskets(
        self, policy: SnapshotPolicy | None = None, cls: Any = Basket, **options: Any
    ) -> AggregateRepository[Any]:
        if policy is None:
            return AggregateRepository(cls, self.store)
        snapshots = Snapshots(self.kept, policy, clock=self.clock, **options)
        return AggregateRepository(cls, self.store, snapshots=snapshots)

    async def versions(self, name: str = "Basket", schema_version: int = 1) -> list[int]:
        found: list[int] = []
        highest = None
        while True:
            one = await self.kept.load("basket-1", name, schema_version=schema_version, max_version=highest)
            if one is None:
                return found
            found.insert(0, one.version)
            highest = one.version - 1


@pytest.fixture
def world() -> World:
    return World()


def put(basket: Basket) -> None:
    basket.raise_event(Put("tea", Decimal("1.5")))


async def put_one_by_one(baskets: AggregateRepository[Basket], count: int) -> None:
    for _ in range(count):
        await baskets.update("1", put, create=True)


# --- the promise ---

events = st.one_of(
    st.builds(Put, st.sampled_from("abc"), st.decimals(-100, 100, places=2)),
    st.builds(Dropped, st.sampled_from("abc")),
)
saves = st.lists(st.lists(events, min_size=1, max_size=4), max_size=8)


@given(saves=saves, every_n=st.integers(1, 6), keep=st.integers(1, 3), json=st.booleans())
def test_a_snapshot_and_the_events_after_it_equal_all_events(
    saves: list[list[Event]], every_n: int, keep: int, json: bool
) -> None:
    async def check() -> None:
        world = World()
        options: dict[str, Any] = {"serializer": json_serializer()} if json else {}
        baskets = world.baskets(every(every_n), keep=keep, **options)
        version = 0
        for raised in saves:
            basket = await baskets.load_or_new("1")
            for event in raised:
                basket.raise_event(event)
            await baskets.save(basket)
            version += len(raised)
            replayed = await world.baskets().load("1")
            loaded = await baskets.load("1")
            assert loaded == replayed == basket
            assert loaded.version == replayed.version == version
        for earlier in range(version + 1):
            assert await baskets.state_at("1", earlier) == await world.baskets().state_at("1", earlier)
        counts = baskets.snapshot_counts
        assert (counts.failed, counts.ignored) == (0, 0)

    asyncio.run(check())


async def test_only_the_events_after_a_snapshot_are_read(world: World) -> None:
    baskets = world.baskets(every(3))
    await put_one_by_one(baskets, 4)
    world.log.calls.clear()
    basket = await baskets.load("1")
    assert (basket.version, basket.total) == (4, Decimal("6.0"))
    assert world.log.calls == ["read_stream 3-None limit 512"]


async def test_a_snapshot_of_the_newest_version_is_enough(world: World) -> None:
    baskets = world.baskets(every(1))
    await put_one_by_one(baskets, 2)
    basket = await baskets.load("1")
    assert (basket.version, basket.total) == (2, Decimal("3.0"))
    put(basket)
    await baskets.save(basket)
    assert (await world.baskets().load("1")).total == Decimal("4.5")


# --- when ---


async def test_one_is_taken_after_so_many_events(world: World) -> None:
    baskets = world.baskets(every(3), keep=9)
    await put_one_by_one(baskets, 8)
    assert await world.versions() == [3, 6]
    assert baskets.snapshot_counts.taken == 2


async def test_several_events_in_one_save_count_each(world: World) -> None:
    basket = Basket("1")
    for _ in range(5):
        put(basket)
    await world.baskets(every(3)).save(basket)
    assert await world.versions() == [5]


async def test_one_is_taken_with_the_first_save_after_so_long(world: World) -> None:
    baskets = world.baskets(after(60), keep=9)
    await put_one_by_one(baskets, 1)
    world.clock.advance(59)
    await put_one_by_one(baskets, 1)
    assert await world.versions() == []
    world.clock.advance(1)
    await put_one_by_one(baskets, 1)
    assert await world.versions() == [3]
    world.clock.advance(59)
    await put_one_by_one(baskets, 1)
    world.clock.advance(1)
    await put_one_by_one(baskets, 1)
    assert await world.versions() == [3, 5]


async def test_one_is_taken_when_either_policy_says_so(world: World) -> None:
    baskets = world.baskets(either(every(3), after(60)), keep=9)
    await put_one_by_one(baskets, 3)
    world.clock.advance(60)
    await put_one_by_one(baskets, 1)
    assert await world.versions() == [3, 4]


async def test_a_policy_may_be_any_function(world: World) -> None:
    asked: list[SinceSnapshot] = []

    def mine(since: SinceSnapshot) -> bool:
        asked.append(since)
        return since.events == 2

    baskets = world.baskets(mine, keep=9)
    await put_one_by_one(baskets, 3)
    assert asked == [SinceSnapshot(1, 0.0), SinceSnapshot(2, 0.0), SinceSnapshot(1, 0.0)]
    assert await world.versions() == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: every(0),
        lambda: every("9"),  # type: ignore[arg-type]
        lambda: after(0),
        lambda: after(float("inf")),
        lambda: after(-1),
        lambda: after("9"),  # type: ignore[arg-type]
        either,
    ],
)
def test_a_policy_that_means_nothing_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()


async def test_as_many_are_kept_as_were_asked_for(world: World) -> None:
    await put_one_by_one(world.baskets(every(1), keep=2), 5)
    assert await world.versions() == [4, 5]
    with pytest.raises(ConfigurationError, match="keep=0"):
        world.baskets(every(1), keep=0)


async def test_a_save_of_nothing_takes_none(world: World) -> None:
    baskets = world.baskets(every(1))
    await baskets.save(Basket("1"))
    assert await world.versions() == []


# --- what does not fit ---


async def test_a_snapshot_of_an_older_schema_is_passed_over_and_a_new_one_is_taken(world: World) -> None:
    await put_one_by_one(world.baskets(every(2)), 2)

    @dataclass
    class Newer(Basket, category="basket", schema_version=2):
        count: int = 0

        @apply
        def put(self, event: Put) -> None:
            super().put(event)
            self.count += 1

    newer = world.baskets(every(2), cls=Newer)
    assert (await newer.load("1")).count == 2
    assert newer.snapshot_counts == SnapshotCounts()
    await newer.update("1", put)
    assert await world.versions("Newer", 2) == [3]


@pytest.mark.parametrize(
    "now",
    [{"one": int, "two": int, "three": int}, {"one": int}, {"one": int, "two": str}],
    ids=["one more", "one less", "another type"],
)
async def test_a_state_whose_attributes_have_changed_is_replayed_though_its_version_was_forgotten(
    world: World, now: dict[str, Any], log: list[MutableMapping[str, Any]]
) -> None:
    def basket(types: dict[str, Any]) -> Any:
        @apply
        def put(self: Any, event: Put) -> None:
            for name, type_ in types.items():
                setattr(self, name, type_(int(getattr(self, name)) + 1))

        defaults = {name: type_(0) for name, type_ in types.items()}
        return type("Basket", (Aggregate,), {"put": put, "__annotations__": types, **defaults})

    await put_one_by_one(world.baskets(every(2), cls=basket({"one": int, "two": int})), 2)
    changed = world.baskets(every(2), cls=basket(now))
    loaded = await changed.load("1")
    assert {name: getattr(loaded, name) for name in now} == {name: type_(2) for name, type_ in now.items()}
    assert changed.snapshot_counts.failed == 1
    assert [line["event"] for line in log] == ["catga.snapshot_failed"]


async def test_a_snapshot_of_another_format_is_passed_over(
    world: World, log: list[MutableMapping[str, Any]]
) -> None:
    await put_one_by_one(world.baskets(every(2)), 2)
    baskets = world.baskets(every(2), serializer=json_serializer())
    assert (await baskets.load("1")).total == Decimal("3.0")
    assert baskets.snapshot_counts.ignored == 1
    [line] = log
    assert (line["event"], line["reason"]) == (
        "catga.snapshot_ignored",
        "it was made by msgpack, not by json",
    )


async def test_a_snapshot_of_events_that_were_rolled_back_is_found_out(
    world: World, log: list[MutableMapping[str, Any]]
) -> None:
    # Snapshots in a storage of their own, which does not roll back with the events.
    world.kept = SnapshotsThatFail()
    baskets = world.baskets(every(2))
    await put_one_by_one(baskets, 1)
    with pytest.raises(ZeroDivisionError):
        async with world.storage.unit_of_work():
            await put_one_by_one(baskets, 1)
            raise ZeroDivisionError
    assert await world.versions() == [2]
    assert (await baskets.load("1")).total == Decimal("1.5")
    assert await world.versions() == []
    await put_one_by_one(baskets, 1)
    assert await world.versions() == [2]
    assert (await baskets.load("1")).total == Decimal("3.0")
    assert baskets.snapshot_counts.ignored == 1
    assert [line["event"] for line in log] == ["catga.snapshot_ignored"]


async def test_a_snapshot_of_rolled_back_events_is_found_out_though_others_are_in_their_place(
    world: World,
) -> None:
    world.kept = SnapshotsThatFail()
    baskets = world.baskets(every(2))
    await put_one_by_one(baskets, 1)
    with pytest.raises(ZeroDivisionError):
        async with world.storage.unit_of_work():
            await put_one_by_one(baskets, 1)
            raise ZeroDivisionError
    await world.store.append("basket-1", Put("milk", Decimal(7)))
    assert (await baskets.load("1")).total == Decimal("8.5")


async def test_a_snapshot_is_rolled_back_with_its_events(world: World) -> None:
    baskets = world.baskets(every(2))
    await put_one_by_one(baskets, 1)
    with pytest.raises(ZeroDivisionError):
        async with world.storage.unit_of_work():
            await put_one_by_one(baskets, 1)
            raise ZeroDivisionError
    assert await world.versions() == []
    async with world.storage.unit_of_work():
        await put_one_by_one(baskets, 1)
    assert await world.versions() == [2]


# --- what fails ---


async def test_a_snapshot_that_cannot_be_taken_does_not_fail_the_save(
    world: World, log: list[MutableMapping[str, Any]]
) -> None:
    baskets = world.baskets(every(2))
    world.kept.broken = True
    await put_one_by_one(world.baskets(), 1)
    basket = await baskets.load("1")
    put(basket)
    await baskets.save(basket)
    assert (basket.version, len(basket.pending_events)) == (2, 0)
    assert baskets.snapshot_counts.failed == 2
    assert [(line["event"], line["attempt"], line["stream_id"]) for line in log] == [
        ("catga.snapshot_failed", "read", "basket-1"),
        ("catga.snapshot_failed", "take", "basket-1"),
    ]
    world.kept.broken = False
    put(basket)
    await baskets.save(basket)
    assert await world.versions() == [3]


async def test_a_state_that_goes_on_while_it_is_saved_is_not_taken_for_a_stored_version(world: World) -> None:
    class Slow(LogEventStore):
        async def append(self, *arguments: Any, **options: Any) -> Any:
            done = await super().append(*arguments, **options)
            put(basket)
            return done

    basket = Basket("1")
    put(basket)
    snapshots = Snapshots(world.kept, every(1), clock=world.clock)
    slow = AggregateRepository(Basket, Slow(world.log, EventTypes(), world.clock), snapshots=snapshots)
    await slow.save(basket)
    assert (basket.version, len(basket.pending_events)) == (1, 1)
    assert await world.versions() == []


# --- what a state may be made of ---


async def test_a_class_may_say_itself_what_is_kept(world: World) -> None:
    class Counter(Aggregate, category="basket"):
        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.hidden = [0]

        @apply
        def put(self, event: Put) -> None:
            self.hidden[0] += 1

        def snapshot(self) -> dict[str, int]:
            return {"count": self.hidden[0]}

        def restore(self, state: dict[str, int]) -> None:
            self.hidden = [state["count"]]

    counters = world.baskets(every(2), cls=Counter)
    await put_one_by_one(counters, 3)
    assert (await counters.load("1")).hidden == [3]
    assert counters.snapshot_counts.used == 2


def refused(cls: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        World().baskets(every(2), cls=cls)
    return str(caught.value)


def test_an_attribute_that_is_not_annotated_is_told() -> None:
    class Odd(Aggregate):
        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.total = 0

    assert "total has no annotation in the class: write it there with its type" in refused(Odd)


def test_an_attribute_without_a_value_is_told() -> None:
    class Odd(Aggregate):
        customer: str

    assert "customer has no value in a new one: give it a default" in refused(Odd)


def test_a_field_outside_of_a_dataclass_is_told() -> None:
    class Odd(Aggregate):
        items: list[str] = field(default_factory=list)

    assert "make the class a @dataclass" in refused(Odd)


def test_an_attribute_that_has_no_bytes_is_told() -> None:
    class Odd(Aggregate):
        done: asyncio.Event

        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.done = asyncio.Event()

    told = refused(Odd)
    assert "the state of Odd cannot be kept in a snapshot" in told
    assert "its own snapshot() and restore()" in told


def test_a_hook_that_does_not_tell_its_type_is_told() -> None:
    class Odd(Aggregate):
        def snapshot(self):
            return 1

        def restore(self, state: int) -> None: ...

    assert "snapshot does not say what it returns" in refused(Odd)


async def test_an_attribute_that_comes_later_is_told_and_the_save_is_done(
    world: World, log: list[MutableMapping[str, Any]]
) -> None:
    class Growing(Aggregate, category="basket"):
        @apply
        def put(self, event: Put) -> None:
            self.later = 1

    growing = world.baskets(every(1), cls=Growing)
    await put_one_by_one(growing, 1)
    assert (growing.snapshot_counts.taken, growing.snapshot_counts.failed) == (0, 1)
    assert "later has no annotation" in str(log[0]["stack"])
    assert (await growing.load("1")).later == 1


async def test_a_slotted_dataclass_is_kept_too(world: World) -> None:
    @dataclass(slots=True)
    class Slotted(Aggregate, category="basket"):
        at: datetime | None = None
        count: int = 0

        @apply
        def put(self, event: Put) -> None:
            self.count += 1
            self.at = self.at or START

    slotted = world.baskets(every(2), cls=Slotted)
    await put_one_by_one(slotted, 3)
    assert (await slotted.load("1")).count == 3
    assert slotted.snapshot_counts.used == 2
