"""Errors name the application's files, never those of Catga."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaOptions,
    Clock,
    ConfigurationError,
    Event,
    SystemClock,
    Transport,
    add_catga,
)
from catga_core.event_sourcing import (
    Aggregate,
    Decider,
    DeciderRepository,
    add_aggregate,
    add_decider,
    add_event_publisher,
    apply,
    every,
)
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.interfaces import EventStore
from catga_core.memory import LocalTransport, local_bus
from catga_nats import add_nats_catga
from catga_redis import add_redis_catga
from catga_sqlite import add_sqlite_catga

HERE = Path(__file__).name
_PLACE = re.compile(r"([\w<>-]+\.pyx?):\d+")


class Counted(Event):
    by: int


class Counter(Aggregate):
    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.count = 0

    @apply
    def counted(self, event: Counted) -> None:
        self.count += event.by


class Count(Event):
    by: int


def decide(command: Count, state: int) -> list[Counted]:
    return [Counted(command.by)]


def evolve(state: int, event: Counted) -> int:
    return state + event.by


class CounterRepository(DeciderRepository[Count, int, Counted]):
    pass


def scoped_store() -> Any:
    raise AssertionError


def scoped_clock() -> Clock:
    return SystemClock()


def aggregate(catga: CatgaContainer) -> None:
    catga.add_scoped(EventStore, scoped_store)
    add_aggregate(catga, Counter)


def aggregate_with_snapshots(catga: CatgaContainer) -> None:
    catga.add_scoped(EventStore, scoped_store)
    add_aggregate(catga, Counter, snapshots=every(2))


def decider(catga: CatgaContainer) -> None:
    catga.add_scoped(EventStore, scoped_store)
    add_decider(
        catga, CounterRepository, Decider(category="counter", initial=int, decide=decide, evolve=evolve)
    )


def sqlite(catga: CatgaContainer) -> None:
    catga.add_scoped(Clock, scoped_clock)
    add_sqlite_catga(catga, "app.db")


def redis(catga: CatgaContainer) -> None:
    catga.add_scoped(Clock, scoped_clock)
    add_redis_catga(catga, "redis://localhost")


def nats(catga: CatgaContainer) -> None:
    catga.add_scoped(Clock, scoped_clock)
    add_nats_catga(catga, "nats://localhost")


def transport(catga: CatgaContainer) -> None:
    catga.add_scoped(Transport, lambda: LocalTransport(local_bus("places")))


def two_publishers(catga: CatgaContainer) -> None:
    add_event_publisher(catga)
    add_event_publisher(catga)


def publisher_and_subscription(catga: CatgaContainer) -> None:
    async def count(event: Counted) -> None:
        del event

    add_event_publisher(catga, name="counts")
    add_subscription(catga, "counts", count)


@pytest.mark.parametrize(
    ("compose", "places"),
    [
        (aggregate, 2),
        (aggregate_with_snapshots, 2),
        (decider, 2),
        (sqlite, 2),
        (redis, 2),
        (nats, 2),
        (two_publishers, 2),
        (publisher_and_subscription, 2),
    ],
)
def test_places_in_an_error_are_the_applications(
    compose: Callable[[CatgaContainer], None], places: int
) -> None:
    catga = add_catga()
    with pytest.raises(ConfigurationError) as raised:
        compose(catga)
        catga.validate()

    found = _PLACE.findall(str(raised.value))
    assert found == [HERE] * len(found)
    assert len(found) >= places


def test_features_own_services_have_no_place() -> None:
    catga = add_catga(CatgaOptions(enable_outbox=True))
    catga.add_scoped(Clock, scoped_clock)

    with pytest.raises(ConfigurationError) as raised:
        catga.validate()

    [problem] = [each for each in raised.value.problems if each.startswith("OutboxRelay ")]
    assert _PLACE.findall(problem) == [HERE]
    assert "Register Clock with add_singleton(Clock, ...)." in problem
