"""A projection that is rebuilt and replaced by a new version while events are appended, after the commit or inline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from catga_core import CatgaApp, CatgaContainer, CatgaError, CatgaOptions, Event, add_catga, message
from catga_core.event_sourcing.projections import (
    Projection,
    ProjectionMode,
    add_projection,
    current_projection,
    project,
)
from catga_core.interfaces import EventData, Snapshot, SnapshotStore, StoredEvent
from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.histories.history import Entry
from tests.faults.histories.workload import Found, Task, Workload

NAME = "tally"
_LEASE = 0.5
_PAUSE = 0.01
_SETTLED_WITHIN = 90.0


@message(name="histories.counted")
class Counted(Event):
    """One event to count."""


class Tally(msgspec.Struct):
    """What the projection keeps.

    Args:
        events: How many events it has handled.
        last: The position of the last one.
        misplaced: How many came before one that was handled already.
    """

    events: int = 0
    last: int = 0
    misplaced: int = 0


class Counting(Projection, name=NAME, version=1):
    """Counts events in one document for each target."""

    each = 1

    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots

    @project
    async def counted(self, event: Counted, stored: StoredEvent) -> None:
        """Count one."""
        del event
        target = current_projection().target
        tally = await tally_of(self._snapshots, target) or Tally()
        tally.misplaced += stored.position <= tally.last
        tally.events += self.each
        tally.last = stored.position
        await self._save(target, tally)

    async def reset(self) -> None:
        """Begin at nothing."""
        await self._save(current_projection().target, Tally())

    async def remove(self) -> None:
        """Leave nothing."""
        await self._snapshots.delete(current_projection().target)

    async def _save(self, target: str, tally: Tally) -> None:
        await self._snapshots.save(Snapshot(target, 1, NAME, 1, "json", msgspec.json.encode(tally), 0))


class CountingTwice(Counting, name=NAME, version=2):
    """The next version of it, of which each event counts two."""

    each = 2


async def tally_of(snapshots: SnapshotStore, target: str) -> Tally | None:
    """Return the document of a target."""
    found = await snapshots.load(target, NAME, schema_version=1)
    return None if found is None else msgspec.json.decode(found.data, type=Tally)


def compose(url: str, version: int, mode: ProjectionMode) -> CatgaContainer:
    """Put the application of one version together."""
    catga = add_catga(CatgaOptions(store=url))
    catga.add_singleton(SnapshotProbe)
    if version:
        add_projection(
            catga,
            CountingTwice if version == 2 else Counting,
            mode=mode,
            # Where a unit of work does not see its own writes, a batch of one: the projection reads what it has written.
            batch_size=5 if url.startswith("sqlite") else None,
            lease_seconds=_LEASE,
            poll_seconds=0.1,
            retry_delay_seconds=0.05,
            max_retry_delay_seconds=0.3,
        )
    return catga


class SnapshotProbe:
    """Gives what reads the documents from outside of the projection."""

    def __init__(self, snapshots: SnapshotStore) -> None:
        self.snapshots: SnapshotStore = snapshots


async def catch_up(task: Task) -> None:
    """Work with a projection that follows the log."""
    await _work(task, ProjectionMode.CATCH_UP)


async def inline(task: Task) -> None:
    """Work with a projection that each append updates."""
    await _work(task, ProjectionMode.INLINE)


async def _work(task: Task, mode: ProjectionMode) -> None:
    version = int(task.role.partition("-v")[2][:1] or 0)
    async with compose(task.url, version, mode).running() as app:
        app.event_store.register(Counted)
        async with asyncio.TaskGroup() as group:
            group.create_task(_append(app, task))
            if version:
                group.create_task(_rebuild(app, task))
                group.create_task(_claim(app, task))


async def _append(app: CatgaApp, task: Task) -> None:
    chance, number = task.chance, 0
    while not task.stop.is_set():
        number += 1
        id = f"{task.record.worker}-{number}"
        events = [EventData(Counted(), f"{id}-{index}") for index in range(chance.randint(1, 3))]
        try:
            done = await app.event_store.append(f"s{chance.randrange(3)}", events)
        except CatgaError as error:
            task.record("failed", code=error.code, outcome=error.outcome)
        else:
            task.record("appended", position=done.position, events=len(events))
        await asyncio.sleep(chance.random() * _PAUSE)


async def _rebuild(app: CatgaApp, task: Task) -> None:
    chance = task.chance
    while not task.stop.is_set():
        await asyncio.sleep(0.3 + chance.random())
        try:
            task.record("rebuilding", target=await app.projections.rebuild(NAME))
        except CatgaError as error:
            task.record("not rebuilt", code=error.code)


async def _claim(app: CatgaApp, task: Task) -> None:
    """Record what is read after the projection has said that it is caught up."""
    snapshots = app.get(SnapshotProbe).snapshots

    async def read(target: str) -> tuple[str, Tally | None]:
        return target, await tally_of(snapshots, target)

    while not task.stop.is_set():
        try:
            head = await app.projections.caught_up(NAME, timeout=1)
            target, tally = await app.projections.read(NAME, read)
        except CatgaError:
            pass
        else:
            task.record("caught up", head=head, target=target, tally=tally)
        await asyncio.sleep(5 * _PAUSE)


async def check_catch_up(url: str, history: Sequence[Entry]) -> Found:
    """Let one more process finish, then compare the read model with the log."""
    return await _check(url, history, ProjectionMode.CATCH_UP)


async def check_inline(url: str, history: Sequence[Entry]) -> Found:
    """Let one more process finish, then compare the read model with the log."""
    return await _check(url, history, ProjectionMode.INLINE)


async def _check(url: str, history: Sequence[Entry], mode: ProjectionMode) -> Found:
    problems: list[str] = []
    async with compose(url, 2, mode).running() as app:
        app.event_store.register(Counted)
        stored = [each async for each in app.event_store.read_all()]
        snapshots = app.get(SnapshotProbe).snapshots

        async def is_settled() -> bool:
            health = app.projections.health(NAME)
            target = await app.projections.target(NAME)
            tally = await tally_of(snapshots, target)
            kept = [each.name for each in await app.checkpoints.list()]
            done = "rebuild" not in health.details and len(kept) == 1
            return bool(done and tally is not None and stored and tally.last == stored[-1].position)

        try:
            await eventually(is_settled, within=_SETTLED_WITHIN, every=0.1)
        except NotInTimeError:
            kept = [each.name for each in await app.checkpoints.list()]
            problems.append(
                f"it has not settled within {_SETTLED_WITHIN:g} s: {app.projections.health(NAME)}, checkpoints {kept}"
            )
        target = await app.projections.target(NAME)
        tally = await tally_of(snapshots, target)
    found = compare(len(stored), target, tally, history)
    found.problems += problems
    return found


def compare(events: int, target: str, tally: Tally | None, history: Sequence[Entry]) -> Found:
    """Compare a read model with the log and a history.

    Args:
        events: How many events the log has.
        target: The target that is read.
        tally: Its document.
        history: What the processes have done and seen.
    """
    found = Found()
    each = 2 if target.startswith(f"{NAME}_2") else 1
    if tally is None or (tally.events, tally.misplaced) != (each * events, 0):
        found.problems.append(f"{target} is {tally}, and the log has {events} events")
    for entry in history:
        kind = entry.kind
        if kind == "caught up":
            found.counts["times caught up"] += 1
            found.problems += _untrue(entry)
        elif kind == "rebuilding":
            found.counts["rebuilds requested"] += 1
        elif kind == "appended":
            found.counts["events acknowledged"] += entry["events"]
    found.counts["events"] = events
    return found


def _untrue(entry: Entry) -> list[str]:
    tally: dict[str, Any] | None = entry["tally"]
    last = 0 if tally is None else tally["last"]
    if last >= entry["head"]:
        return []
    return [f"{entry.worker} was caught up at {entry['head']}, and {entry['target']} ends at {last}"]


PROJECTIONS = Workload(
    name="projections",
    places=("sqlite", "redis"),
    roles=("append", "count-v1-a", "count-v1-b", "count-v2"),
    late=1,
    work=catch_up,
    check=check_catch_up,
)

INLINE = Workload(
    name="inline projections",
    places=("sqlite",),
    roles=("count-v1-a", "count-v1-b", "count-v1-c", "count-v2"),
    late=1,
    work=inline,
    check=check_inline,
)
