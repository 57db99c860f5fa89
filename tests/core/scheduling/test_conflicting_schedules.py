"""Schedules of one key with different commands: refused where that is known, and otherwise never stopped by it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catga_core import CatgaApp, CatgaContainer, CatgaOptions, Clock, Command, ConfigurationError, add_catga
from catga_core.features.scheduling.enqueueing import TickEnqueuer
from catga_core.log import SCHEDULE_FAILED, TICK_CONFLICTED
from catga_core.reliability import QueueOptions, add_queues
from catga_core.scheduling import OnMissed, add_schedule
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.stores import Place

BEGIN = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


class CleanRoom(Command[None]):
    room: str
    at: str = ""


class PaintRoom(Command[None]):
    room: str


Made = Callable[[datetime], Command[Any]]


class Rooms:
    """Containers over one place and one clock, and what their handlers got."""

    def __init__(self, place: Place, clock: ManualClock) -> None:
        self.place = place
        self.clock = clock
        self.had: list[tuple[str, str]] = []

    def container(self, **options: Any) -> CatgaContainer:
        catga = self.place.container(service_name="rooms")
        catga.add_singleton(Clock, self.clock)
        add_queues(catga, QueueOptions(poll_seconds=0.05))

        async def clean(command: CleanRoom) -> None:
            self.had.append((command.room, command.at))

        catga.add_handlers(clean)
        for name in ("kitchen", "hall"):
            add_schedule(catga, name, cleaned(name), **{"every": 60, "key": "clean", **options})
        return catga

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition while the clock moves."""

        async def moved() -> bool:
            await self.clock.run_for(0.1)
            return condition()

        await eventually(moved)


def cleaned(room: str) -> Made:
    return lambda tick: CleanRoom(room, tick.strftime("%H:%M"))


@pytest.fixture
def rooms(place: Place) -> Rooms:
    return Rooms(place, ManualClock(BEGIN))


def conflicts(log: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["message_id"] for line in log if line["event"] == TICK_CONFLICTED]


async def test_conflicting_tick_is_passed_over(rooms: Rooms, log: list[MutableMapping[str, Any]]) -> None:
    async with rooms.container().running() as app:
        for minute in range(1, 4):
            await rooms.clock.run_for(60)
            await rooms.until(lambda minute=minute: len(conflicts(log)) == minute)  # type: ignore[misc]
            await rooms.until(lambda minute=minute: len(rooms.had) == minute)  # type: ignore[misc]

        assert [at for _, at in rooms.had] == ["12:01", "12:02", "12:03"]
        health = app.health()["schedule_worker"]
        assert (health.status, health.details["conflicts"]) == ("degraded", 3)
        first, second = await app.schedules.list()
        assert first.last_at == second.last_at == (BEGIN + timedelta(seconds=150)).timestamp()
    assert not [line for line in log if line["event"] == SCHEDULE_FAILED]


async def test_tick_without_conflict_restores_health(
    rooms: Rooms, log: list[MutableMapping[str, Any]]
) -> None:
    agree = False

    def hall(tick: datetime) -> Command[Any]:
        return cleaned("kitchen" if agree else "hall")(tick)

    catga = rooms.container()
    add_schedule(catga, "hall", hall, every=60, key="clean")
    async with catga.running() as app:
        await rooms.clock.run_for(60)
        await rooms.until(lambda: len(conflicts(log)) == 1)
        await rooms.until(lambda: status_of(app) == "degraded")
        agree = True
        # Which of the two is first at a tick is open, so that both have to run once more.
        await rooms.clock.run_for(60)
        await rooms.until(lambda: status_of(app) == "healthy")


async def test_conflict_among_missed_ticks_passes_over_no_other(
    rooms: Rooms, log: list[MutableMapping[str, Any]]
) -> None:
    async with rooms.container(missed=OnMissed.ALL).running():
        pass
    rooms.clock.advance(5 * 60)
    catga = rooms.container(missed=OnMissed.ALL)
    # Of five missed ticks of the key, the other schedule has two.
    add_schedule(catga, "hall", cleaned("hall"), cron="2,4 * * * *", key="clean", missed=OnMissed.ALL)

    async with catga.running() as app:
        await app.schedules.list()
        await rooms.until(lambda: len({at for _, at in rooms.had}) == 5)

    assert sorted(at for _, at in rooms.had) == [f"12:0{minute}" for minute in range(1, 6)]


async def test_conflicting_tick_of_a_key_is_passed_over_over_a_broker(
    memory: Place, log: list[MutableMapping[str, Any]]
) -> None:
    rooms = Rooms(memory, ManualClock(BEGIN))
    async with rooms.container().running() as app:
        app.get(TickEnqueuer)._joins = lambda: False
        for minute in (1, 2):
            await rooms.clock.run_for(60)
            await rooms.until(lambda minute=minute: len(conflicts(log)) == minute)  # type: ignore[misc]

        first, second = await app.schedules.list()
        assert first.last_at == second.last_at == (BEGIN + timedelta(seconds=90)).timestamp()
    assert not [line for line in log if line["event"] == SCHEDULE_FAILED]


@pytest.mark.parametrize(
    "others",
    [
        (CleanRoom("hall"),),
        (PaintRoom("kitchen"),),
        (CleanRoom("kitchen"), cleaned("hall"), CleanRoom("hall")),
    ],
)
def test_different_commands_of_a_key_are_refused(others: tuple[Any, ...]) -> None:
    catga = add_catga(CatgaOptions(service_name="rooms"))
    for number, command in enumerate((CleanRoom("kitchen"), *others)):
        add_schedule(catga, f"room {number}", command, every=60, key="clean")

    with pytest.raises(ConfigurationError, match=r"'room 0' and .* have key='clean' and different commands"):
        catga.validate()


@pytest.mark.parametrize("other", [CleanRoom("kitchen"), cleaned("hall")])
def test_equal_or_unknown_commands_of_a_key_are_accepted(other: Any) -> None:
    catga = add_catga(CatgaOptions(service_name="rooms"))
    add_schedule(catga, "one", CleanRoom("kitchen"), every=60, key="clean")
    add_schedule(catga, "two", other, every=60, key="clean")

    catga.validate()


def status_of(app: CatgaApp) -> str:
    return str(app.health()["schedule_worker"].status)
