"""A projection in memory: every process has all events in it, from the first one on."""

from __future__ import annotations

from collections import Counter

import pytest

from catga_core import CatgaContainer, CatgaError
from catga_core.event_sourcing.projections import (
    OnFailure,
    Projection,
    ProjectionMode,
    Projections,
    add_projection,
    current_projection,
    is_replay,
    project,
)
from tests.core.event_sourcing.consuming import Deposited, container_at, deposit, fast
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


class Begins(Projection, name="begins"):
    """Has its dict from `reset` only, and tells where that was."""

    made: list[tuple[str, bool]]
    sums: dict[str, Counter[str]]

    async def reset(self) -> None:
        current = current_projection()
        self.made = [*getattr(self, "made", ()), (current.target, current.replay)]
        self.sums = {current.target: Counter()}

    @project
    def deposited(self, event: Deposited) -> None:
        self.sums[current_projection().target][event.account] += event.amount


class CannotBegin(Begins, name="cannot-begin"):
    async def reset(self) -> None:
        raise KeyError("no room")


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


@pytest.mark.parametrize(
    ("mode", "sums"), [(ProjectionMode.IN_MEMORY, [1, 2, 3]), (ProjectionMode.LIVE, [1, 1, 1])]
)
async def test_it_is_reset_once_in_each_run_before_its_first_event(
    place: Place, mode: ProjectionMode, sums: list[int]
) -> None:
    for expected in sums:
        catga = container_at(place)
        add_projection(catga, Begins, mode=mode, **fast())
        async with catga.running() as app:
            begins = app.get(Begins)
            assert begins.made == [("begins_1", True)], (
                "a reader finds it empty as soon as the container runs"
            )
            await deposit(app, "a")
            await app.get(Projections).caught_up("begins")
            assert begins.sums == {"begins_1": {"a": expected}}
            assert len(begins.made) == 1


@pytest.mark.parametrize("mode", [ProjectionMode.IN_MEMORY, ProjectionMode.LIVE])
async def test_one_that_cannot_be_reset_keeps_the_container_from_starting(
    place: Place, mode: ProjectionMode
) -> None:
    catga = container_at(place)
    add_projection(catga, CannotBegin, mode=mode, **fast())
    with pytest.raises(CatgaError, match="'cannot-begin' cannot begin: its reset raised KeyError: 'no room'"):
        async with catga.running():
            pass


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
