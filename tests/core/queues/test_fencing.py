"""The storage refuses what a former owner of a message commits, whatever the clock of that process says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from catga_core import (
    CatgaApp,
    CatgaError,
    Clock,
    ErrorCode,
    Event,
    LeaseLostError,
    message,
)
from catga_core.clock import SystemClock
from catga_core.interfaces.queue import QueueLease, QueueStore
from catga_core.log import LEASE_LOST
from catga_core.reliability import QueueOptions, add_queues, ordered_by
from catga_testing.waiting import eventually
from tests.stores import Place

LEASE = 0.4


@ordered_by(lambda event: event.key)
@message(delivery="at_least_once")
class Changed(Event):
    key: str
    step: int


class Noted(Event):
    step: int
    by: str


class Suspended(SystemClock):
    """The clock of a machine that stands still, once a test says so: it does not show the time that passes meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._since: float | None = None

    def monotonic(self) -> float:
        return super().monotonic() if self._since is None else self._since

    def stand_still(self) -> None:
        self._since = super().monotonic()


class Reach:
    """A store as one process reaches it: it renews nothing once a test says so, and may stand still in the midst of a commit."""

    def __init__(self, store: QueueStore, patch: pytest.MonkeyPatch) -> None:
        self._renew, self._require = store.renew, store.require
        patch.setattr(store, "renew", self.renew)
        patch.setattr(store, "require", self.require)
        self.away = False
        self.looked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def renew(self, leased: list[QueueLease], /, *, lease: float) -> list[QueueLease]:
        if self.away:
            raise CatgaError("the store is away", code=ErrorCode.PERSISTENCE_FAILED)
        return await self._renew(leased, lease=lease)

    async def require(self, leased: QueueLease, /) -> None:
        self.looked.set()
        await self.go_on.wait()
        await self._require(leased)


class Former:
    """A process that has a message, stands still, and goes on after another one has handled it."""

    def __init__(self, app: CatgaApp, clock: Suspended, reach: Reach) -> None:
        self.app = app
        self.clock = clock
        self.reach = reach
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.refused: list[LeaseLostError] = []

    async def note(self, event: Changed) -> None:
        try:
            async with self.app.unit_of_work():
                self.begun.set()
                await self.go_on.wait()
                await self.app.event_store.append("notes", [Noted(event.step, "former")])
        except LeaseLostError as error:
            self.refused.append(error)
            raise

    def stand_still(self) -> None:
        self.reach.away = True
        self.clock.stand_still()


@asynccontextmanager
async def former(place: Place, *, automatic: bool = False) -> AsyncGenerator[Former]:
    clock = Suspended()
    processes: list[Former] = []
    catga = place.container(service_name="replicas", enable_outbox=automatic)
    catga.add_singleton(Clock, clock)
    # One at a time, so that it does not take its message over itself.
    add_queues(catga, QueueOptions(lease_seconds=LEASE, poll_seconds=0.02, concurrency=1))

    async def note(event: Changed) -> None:
        await processes[0].note(event)

    catga.add_handlers(note)
    async with catga.running() as app:
        with pytest.MonkeyPatch.context() as patch:
            processes.append(Former(app, clock, Reach(app.get(QueueStore), patch)))
            yield processes[0]


@asynccontextmanager
async def successor(place: Place) -> AsyncGenerator[CatgaApp]:
    catga = place.container(service_name="replicas")
    add_queues(catga, QueueOptions(lease_seconds=LEASE, poll_seconds=0.02))

    async def note(event: Changed) -> None:
        async with app.unit_of_work():
            await app.event_store.append("notes", [Noted(event.step, "successor")])

    catga.add_handlers(note)
    async with catga.running() as app:
        yield app


async def test_process_whose_clock_stood_still_commits_nothing(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    async with former(place) as slow:
        for step in (1, 2):
            await slow.app.mediator.publish(Changed("k", step))
        await eventually(lambda: slow.begun.is_set())
        slow.stand_still()
        async with successor(place) as app:
            await eventually(lambda: handled(app), within=20)

            slow.go_on.set()
            await eventually(lambda: slow.refused)

            assert await notes(app) == [(1, "successor"), (2, "successor")]
            await eventually(lambda: [each for each in log if each["event"] == LEASE_LOST])


@pytest.mark.parametrize("place", ["redis"], indirect=True)
async def test_process_that_stands_still_between_look_and_commit_commits_nothing(place: Place) -> None:
    async with former(place) as slow:
        slow.reach.go_on.clear()
        slow.go_on.set()
        for step in (1, 2):
            await slow.app.mediator.publish(Changed("k", step))
        await eventually(lambda: slow.reach.looked.is_set())
        slow.stand_still()
        async with successor(place) as app:
            await eventually(lambda: handled(app), within=20)

            slow.reach.go_on.set()
            await eventually(lambda: slow.refused)

            assert await notes(app) == [(1, "successor"), (2, "successor")]


async def test_automatic_unit_of_work_of_a_former_owner_is_refused(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    async with former(place, automatic=True) as slow:
        for step in (1, 2):
            await slow.app.mediator.publish(Changed("k", step))
        await eventually(lambda: slow.begun.is_set())
        slow.stand_still()
        async with successor(place) as app:
            await eventually(lambda: handled(app), within=20)

            slow.go_on.set()
            await eventually(lambda: [each for each in log if each["event"] == LEASE_LOST])

            assert await notes(app) == [(1, "successor"), (2, "successor")]
            assert slow.app.health()["queue_consumers"].details["retried"] == 0


async def test_late_commit_counts_while_nobody_has_taken_over(place: Place) -> None:
    async with former(place) as slow:
        await slow.app.mediator.publish(Changed("k", 1))
        await eventually(lambda: slow.begun.is_set())
        slow.stand_still()
        until = asyncio.get_running_loop().time() + 2 * LEASE
        await eventually(lambda: asyncio.get_running_loop().time() > until)

        slow.go_on.set()
        await eventually(lambda: notes(slow.app))

        assert slow.refused == []


async def handled(app: CatgaApp) -> bool:
    return len(await notes(app)) == 2


async def notes(app: CatgaApp) -> list[tuple[int, str]]:
    return [(each.event.step, each.event.by) async for each in app.event_store.read("notes")]
