"""A projection in memory: every process has all events in it, from the first one on."""

from __future__ import annotations

from collections import Counter

import pytest

from catga_core import CatgaContainer
from catga_core.event_sourcing.projections import (
    OnFailure,
    Projection,
    ProjectionMode,
    Projections,
    add_projection,
    is_replay,
    project,
)
from tests.core.event_sourcing.following import Deposited, container_at, deposit, fast
from tests.stores import Place


class Sums(Projection, name="sums"):
    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()

    @project
    def deposited(self, event: Deposited) -> None:
        self.sums[event.account] += event.amount


class Replays(Projection, name="replays"):
    def __init__(self) -> None:
        self.seen: list[bool] = []

    @project
    def deposited(self, event: Deposited) -> None:
        self.seen.append(is_replay())


class Choosy(Sums, name="choosy"):
    @project
    def deposited(self, event: Deposited) -> None:
        if event.amount > 2:
            raise ValueError
        super().deposited(event)


def in_memory(place: Place, projection: type[Projection] = Sums, **options: object) -> CatgaContainer:
    catga = container_at(place)
    add_projection(catga, projection, mode=ProjectionMode.IN_MEMORY, **fast(**options))
    return catga


async def test_each_process_has_all_events_whenever_it_began(place: Place) -> None:
    async with in_memory(place).running() as first:
        await deposit(first, "a", times=300)
        async with in_memory(place).running() as second:
            await deposit(second, "a", 2)
            for app in (first, second):
                await app.get(Projections).caught_up("sums")
                assert app.get(Sums).sums == {"a": 302}


async def test_what_was_there_before_the_process_is_a_replay(place: Place) -> None:
    async with in_memory(place).running() as app:
        await deposit(app, "a")
    async with in_memory(place, Replays).running() as app:
        await deposit(app, "a")
        await app.get(Projections).caught_up("replays")
        assert app.get(Replays).seen == [True, False]


async def test_it_begins_anew_with_the_next_process_and_keeps_no_checkpoint(place: Place) -> None:
    for times in (1, 2, 3):
        async with in_memory(place).running() as app:
            await deposit(app, "a")
            await app.get(Projections).caught_up("sums")
            assert app.get(Sums).sums == {"a": times}
            assert await app.checkpoints.list() == []


@pytest.mark.parametrize("transactional", [False, True])
async def test_an_event_that_fails_has_no_other_one_handled_twice(place: Place, transactional: bool) -> None:
    catga = container_at(place)
    add_projection(
        catga,
        Choosy,
        mode=ProjectionMode.IN_MEMORY,
        transactional=transactional,
        **fast(on_failure=OnFailure.SKIP, attempts=3),
    )
    async with catga.running() as app:
        await app.event_store.append("account-a", [Deposited("a", amount) for amount in (1, 2, 3, 1)])
        await app.get(Projections).caught_up("choosy")
        assert app.get(Choosy).sums == {"a": 4}
        health = app.get(Projections).health("choosy")
        assert (health.details["skipped"], health.details["delivery"]) == (1, "once in each process")
