"""Event sourcing in a container: what is asked for by type, what is known at the start, and what is told there."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    Clock,
    Command,
    ConfigurationError,
    Event,
    RequestHandler,
    Serializer,
    add_catga,
    message,
)
from catga_core.event_sourcing import (
    Aggregate,
    AggregateRepository,
    Decider,
    DeciderRepository,
    EventTypes,
    LogEventStore,
    MessageRegistry,
    add_aggregate,
    add_decider,
    add_events,
    add_upcasters,
    apply,
    every,
    upcaster,
)
from catga_core.interfaces import ANY, EventLog, EventRecord, EventStore, SnapshotStore, StreamAppend
from catga_core.messages.serialization import json_serializer


class Placed(Event):
    item: str


class Place(Command[int]):
    id: str
    item: str


@dataclass
class Order(Aggregate):
    items: list[str] = field(default_factory=list)

    def place(self, item: str) -> None:
        self.raise_event(Placed(item))

    @apply
    def placed(self, event: Placed) -> None:
        self.items.append(event.item)


class PlaceHandler(RequestHandler[Place, int]):
    def __init__(self, orders: AggregateRepository[Order]) -> None:
        self.orders = orders

    async def handle(self, message: Place) -> int:
        order = await self.orders.update(message.id, lambda order: order.place(message.item), create=True)
        return order.version


def added(current: int, event: Placed) -> int:
    return current + 1


def decide(command: str, current: int) -> list[Placed]:
    return [Placed(command)]


COUNTER = Decider(category="counter", initial=int, decide=decide, evolve=added)

Counters = DeciderRepository[str, int, Placed]


@pytest.fixture
def catga() -> CatgaContainer:
    return add_catga(CatgaOptions(service_name="orders"))


async def test_a_repository_is_asked_for_by_its_aggregate(catga: CatgaContainer) -> None:
    add_aggregate(catga, Order)
    catga.add_handlers(PlaceHandler)
    async with catga.running() as app:
        assert (await app.mediator.send(Place("1", "tea"))).unwrap() == 1
        assert (await app.mediator.send(Place("1", "milk"))).unwrap() == 2
        assert (await app.get(AggregateRepository[Order]).load("1")).items == ["tea", "milk"]


async def test_what_a_handler_s_aggregate_raises_belongs_to_its_message(catga: CatgaContainer) -> None:
    add_aggregate(catga, Order)
    catga.add_handlers(PlaceHandler)
    async with catga.running() as app:
        await app.mediator.send(Place("1", "tea"), message_id="m-1")
        [stored] = [each async for each in app.event_store.read("order-1")]
        assert (stored.correlation_id, stored.causation_id) == ("m-1", "m-1")


async def test_what_a_handler_appends_belongs_to_its_message(catga: CatgaContainer) -> None:
    class Appending(RequestHandler[Place, int]):
        def __init__(self, store: EventStore) -> None:
            self.store = store

        async def handle(self, message: Place) -> int:
            return (await self.store.append("log", Placed(message.item))).version

    catga.add_handlers(Appending)
    async with catga.running() as app:
        await app.mediator.send(Place("1", "tea"), message_id="m-1")
        [stored] = [each async for each in app.event_store.read("log")]
        assert stored.causation_id == "m-1"


async def test_snapshots_are_kept_in_the_container_s_snapshot_store(catga: CatgaContainer) -> None:
    add_aggregate(catga, Order, snapshots=every(2), keep=3)
    async with catga.running() as app:
        orders = app.get(AggregateRepository[Order])
        for number in range(5):
            await orders.update("1", lambda order: order.place("tea"), create=True)
            assert orders.snapshot_counts.taken == (number + 1) // 2
        kept = await app.get(SnapshotStore).load("order-1", "Order", schema_version=1)
        assert kept is not None
        assert kept.version == 4


async def test_the_event_classes_of_aggregates_and_deciders_are_known_from_the_start(
    catga: CatgaContainer,
) -> None:
    add_aggregate(catga, Order)
    add_decider(catga, Counters, COUNTER)
    async with catga.running() as app:
        assert app.get(EventTypes).known == [Placed]


async def test_a_decider_is_asked_for_by_its_types(catga: CatgaContainer) -> None:
    add_decider(catga, Counters, COUNTER, snapshots=every(1))
    async with catga.running() as app:
        counters = app.get(Counters)
        assert (await counters.handle("1", "tea")).state == 1
        assert counters.snapshot_counts.taken == 1


async def test_a_decider_may_be_asked_for_by_a_class_of_its_own(catga: CatgaContainer) -> None:
    class Mine(DeciderRepository[str, int, Placed]):
        pass

    add_decider(catga, Mine, COUNTER)
    async with catga.running() as app:
        assert isinstance(app.get(Mine), Mine)


async def test_events_and_upcasters_that_were_added_are_used(catga: CatgaContainer) -> None:
    @upcaster("Placed.old", from_version=1, to_name="Placed")
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {"item": data["thing"]}

    @message(version=2, name="Placed")
    class PlacedNow(Event):
        item: str

    add_upcasters(catga, renamed)
    add_events(catga, PlacedNow)
    async with catga.running() as app:
        old = EventRecord("e-1", "Placed.old", 1, "json", b'{"thing":"tea"}', 0)
        await app.event_store.log.append([StreamAppend("a", ANY, [old])])
        [stored] = [each async for each in app.event_store.read("a")]
        assert stored.event == PlacedNow("tea")


async def test_container_has_one_message_registry(catga: CatgaContainer) -> None:
    async with catga.running() as app:
        registry = app.get(MessageRegistry)
        assert app.message_registry is registry
        assert app.get(EventTypes).registry is registry
        with catga.override(Serializer, json_serializer):
            assert app.get(EventTypes).registry is registry


async def test_handled_event_wins_over_an_imported_one_of_its_name(catga: CatgaContainer) -> None:
    @message(name="container.twice")
    class Handled(Event):
        pass

    @message(name="container.twice")
    class Imported(Event):
        pass

    async def handle(event: Handled) -> None:
        pass

    catga.add_handlers(handle)
    async with catga.running() as app:
        record = EventRecord("e-1", "container.twice", 1, "json", b"{}", 0)
        await app.event_store.log.append([StreamAppend("a", ANY, [record])])
        [stored] = [each async for each in app.event_store.read("a")]
        assert stored.event == Handled()
        with pytest.raises(CatgaError, match=r"Two message classes are named container\.twice v1"):
            await app.event_store.append("a", Imported())


async def test_closed_set_reads_registered_events_only(catga: CatgaContainer) -> None:
    class Outside(Event):
        pass

    add_events(catga, Placed, closed=True)
    async with catga.running() as app:
        for number, name in enumerate(("Placed", "Outside")):
            record = EventRecord(f"e-{number}", name, 1, "json", b'{"item":"tea"}', 0)
            await app.event_store.log.append([StreamAppend("a", ANY, [record])])
        inside, outside = [each async for each in app.event_store.read("a")]
        assert inside.event == Placed("tea")
        with pytest.raises(
            CatgaError, match=r"no class named Outside v1 is known: register it with add_events"
        ):
            _ = outside.event
        # What this process stores is known.
        await app.event_store.append("a", Outside())
        assert outside.event == Outside()


async def test_events_are_written_by_the_container_s_serializer(catga: CatgaContainer) -> None:
    catga.add_singleton(Serializer, json_serializer)
    add_aggregate(catga, Order)
    async with catga.running() as app:
        await app.get(AggregateRepository[Order]).update("1", lambda order: order.place("tea"), create=True)
        [stored] = [each async for each in app.event_store.read("order-1")]
        assert stored.data == b'{"item":"tea"}'


async def test_what_was_added_is_known_under_an_override_too(catga: CatgaContainer) -> None:
    add_events(catga, Placed)
    async with catga.running() as app:
        with catga.override(Serializer, json_serializer):
            assert app.get(EventTypes).known == [Placed]


async def test_an_event_store_of_one_s_own_has_another_limit(catga: CatgaContainer) -> None:
    def small(log: EventLog, types: EventTypes, clock: Clock) -> LogEventStore:
        return LogEventStore(log, types, clock, max_event_bytes=10)

    catga.add_singleton(EventStore, small)
    async with catga.running() as app:
        await app.event_store.append("a", Placed("t"))
        with pytest.raises(CatgaError, match="max_event_bytes is 10"):
            await app.event_store.append("a", Placed("too much tea"))


async def test_a_gap_between_upcasters_keeps_the_container_from_starting(catga: CatgaContainer) -> None:
    @upcaster("Placed", from_version=2)
    def further(data: dict[str, Any]) -> dict[str, Any]:
        return data

    add_aggregate(catga, Order)
    add_upcasters(catga, further)
    with pytest.raises(ConfigurationError, match=r"Upcasters end with Placed v3 \(further"):
        async with catga.running():
            pass


async def test_two_upcasters_for_one_step_keep_the_container_from_starting(catga: CatgaContainer) -> None:
    @upcaster("Placed", from_version=1)
    def one(data: dict[str, Any]) -> dict[str, Any]:
        return data

    @upcaster("Placed", from_version=1)
    def other(data: dict[str, Any]) -> dict[str, Any]:
        return data

    add_upcasters(catga, one)
    add_upcasters(catga, other)
    with pytest.raises(ConfigurationError, match="Two upcasters take Placed v1"):
        async with catga.running():
            pass


async def test_two_classes_of_one_name_keep_the_container_from_starting(catga: CatgaContainer) -> None:
    @message(name="Placed")
    class Other(Event):
        pass

    add_aggregate(catga, Order)
    add_events(catga, Other)
    with pytest.raises(ConfigurationError, match="Two message classes are named Placed v1"):
        async with catga.running():
            pass


SOURCE = """
from catga_core import Event, message
from catga_core.event_sourcing import Aggregate, apply
@message(name="{module}.happened")
class Happened(Event):
    pass
class Order(Aggregate):
    @apply
    def happened(self, event: Happened) -> None: ...
"""


def module_of(folder: Path, name: str) -> Any:
    """Import a module of that name whose aggregate is called Order."""
    file = folder / f"{name}.py"
    file.write_text(SOURCE.format(module=name))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_aggregates_of_one_category_are_refused_with_their_modules_and_files(
    catga: CatgaContainer, tmp_path: Path
) -> None:
    sales, shipping = module_of(tmp_path, "category_sales"), module_of(tmp_path, "category_shipping")
    add_aggregate(catga, sales.Order)
    add_aggregate(catga, sales.Order, snapshots=every(10))

    with pytest.raises(ConfigurationError) as refused:
        add_aggregate(catga, shipping.Order)

    for shown in (
        "category_sales.Order (category_sales.py:7)",
        "category_shipping.Order (category_shipping.py:7)",
    ):
        assert shown in str(refused.value)
    assert "category 'order'" in str(refused.value)


def test_a_decider_of_an_aggregates_category_is_refused(catga: CatgaContainer) -> None:
    add_aggregate(catga, Order)
    add_decider(catga, Counters, COUNTER)
    add_decider(catga, Counters, COUNTER)
    other = Decider(category="order", initial=int, decide=decide, evolve=added)

    class Orders(DeciderRepository[str, int, Placed]):
        pass

    with pytest.raises(ConfigurationError, match=r"Order \(.*decide \(.*category 'order'"):
        add_decider(catga, Orders, other)
    with pytest.raises(ConfigurationError, match="category 'counter'"):
        add_decider(catga, Orders, COUNTER)


async def test_a_state_that_cannot_be_kept_keeps_the_container_from_starting(catga: CatgaContainer) -> None:
    class Odd(Aggregate):
        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.total = 0

    add_aggregate(catga, Odd, snapshots=every(2))
    with pytest.raises(
        ConfigurationError, match=r"Odd .*cannot be kept in a snapshot: total has no annotation"
    ):
        async with catga.running():
            pass


@dataclass
class NeedsMoreThanItsId(Aggregate):
    currency: str


@pytest.mark.parametrize(
    "mistake",
    [
        lambda catga: add_aggregate(catga, int),  # type: ignore[type-var]
        lambda catga: add_aggregate(catga, Order, snapshots=every(2), keep=0),
        lambda catga: add_aggregate(catga, NeedsMoreThanItsId),
        lambda catga: add_aggregate(catga, Order, snapshots=100),  # type: ignore[arg-type]
        lambda catga: add_decider(catga, AggregateRepository, COUNTER),  # type: ignore[arg-type]
        lambda catga: add_decider(catga, Counters, Order),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_told_where_they_are_made(catga: CatgaContainer, mistake: Any) -> None:
    with pytest.raises(ConfigurationError):
        mistake(catga)


def test_a_repository_that_nobody_added_is_told_how_it_is_added() -> None:
    class Books(Aggregate):
        pass

    class LendHandler(RequestHandler[Lend, None]):
        def __init__(self, books: AggregateRepository[Books]) -> None: ...

        async def handle(self, message: Lend) -> None: ...

    catga = add_catga()
    catga.add_handlers(LendHandler)

    with pytest.raises(ConfigurationError, match=r"add_aggregate\(catga.*Books\)"):
        catga.validate()


async def test_asking_the_container_for_it_tells_the_same(catga: CatgaContainer) -> None:
    async with catga.running():
        with pytest.raises(ConfigurationError, match=r"add_aggregate\(catga.*Order\)"):
            catga.get(AggregateRepository[Order])
        with pytest.raises(ConfigurationError, match=r"add_aggregate\(catga, \.\.\.\)"):
            catga.get(AggregateRepository)


class Lend(Command[None]):
    pass
