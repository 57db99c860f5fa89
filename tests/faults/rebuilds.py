"""A process that builds a projection anew and is killed: `python -m tests.faults.rebuilds FILE MOMENT`.

It ends itself with SIGKILL at the moment it is given. With `never` it builds until the new target is read, and with
`for-ever` it builds again and again, until somebody else kills it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any

import structlog

from catga_core import CatgaApp, CatgaContainer, Event, add_catga, message
from catga_core.event_sourcing.projections import Projection, add_projection, current_projection, project
from catga_core.interfaces import Storage, StoredEvent
from catga_core.log import PROJECTION_SWITCHED
from catga_core.unit_of_work import connection_of
from catga_sqlite import SqliteConnection, SqliteOptions, add_sqlite_catga
from catga_testing.waiting import eventually

NAME = "numbers"
OLD, NEW = f"{NAME}_1", f"{NAME}_1_1"
EVENTS = 200
"""How many events there are before the first rebuild."""

_BATCH = 20
_LEASE = 0.3  # seconds: what a killed process held is free again this soon


class Moment(StrEnum):
    """When the process is killed."""

    BUILDING = "building"
    """Half of the new target is written."""
    SWITCHING = "switching"
    """In the transaction of the switch, when everything in it is done, and the old target is gone."""
    SWITCHED = "switched"
    """After its commit, before anybody in the process knows."""
    NEVER = "never"
    FOR_EVER = "for-ever"


@message(name="rebuilds.happened")
class Happened(Event):
    """One event like another: what it leaves is its position."""


class Numbers(Projection, name=NAME):
    """Keeps the position of every event, one row each, in a table of the target's name."""

    moment = Moment.NEVER

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @project
    async def happened(self, event: Happened, stored: StoredEvent) -> None:
        """Add a row."""
        target = current_projection().target
        await self._execute(f"INSERT INTO {target} VALUES (?)", stored.position)
        if self.moment is Moment.BUILDING and target == NEW and stored.position == EVENTS // 2:
            die()

    async def reset(self) -> None:
        """Make the table; a process that was killed before has left nothing of it."""
        await self._execute(f"CREATE TABLE {current_projection().target} (position INTEGER)")

    async def remove(self) -> None:
        """Drop the table, in the unit of work of the switch."""
        await self._execute(f"DROP TABLE {current_projection().target}")
        if self.moment is Moment.SWITCHING:
            die()

    async def _execute(self, sql: str, *parameters: int) -> None:
        async with self._storage.unit_of_work() as uow:
            await connection_of(uow, SqliteConnection).execute(sql, parameters)


def die() -> None:
    """End as a process ends that somebody kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def compose(file: str) -> CatgaContainer:
    """Return a container with the projection."""
    catga = add_catga()
    add_sqlite_catga(catga, SqliteOptions(file, poll_seconds=0.02))
    add_projection(
        catga,
        Numbers,
        batch_size=_BATCH,
        lease_seconds=_LEASE,
        poll_seconds=0.02,
        retry_delay_seconds=0.02,
    )
    return catga


async def build(file: str, moment: Moment) -> None:
    """Have the projection built anew, and meet the moment."""

    def look(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if moment is Moment.SWITCHED and line["event"] == PROJECTION_SWITCHED:
            die()
        raise structlog.DropEvent

    structlog.configure(processors=[look])
    Numbers.moment = moment
    async with compose(file).running() as app, asyncio.TaskGroup() as group:
        if not await app.event_store.version("all"):
            await app.event_store.append("all", [Happened() for _ in range(EVENTS)])
        await app.projections.caught_up(NAME, timeout=30)
        print("ready", flush=True)
        enough = asyncio.Event()
        appending = group.create_task(_append(app, enough))
        while moment is Moment.FOR_EVER:
            await app.projections.rebuild(NAME, wait=30)
        if await app.projections.target(NAME) == OLD:
            await app.projections.rebuild(NAME)
        await eventually(lambda: _is_read(app), within=30)
        # Not cancelled: what was handed to the writer is written all the same, and would come after the last look.
        enough.set()
        await appending
        await app.projections.caught_up(NAME, timeout=30)


async def _append(app: CatgaApp, enough: asyncio.Event) -> None:
    """Have the log grow while it is built: both targets have something to do at the moment of the switch."""
    while not enough.is_set():
        await app.event_store.append("all", Happened())
        await asyncio.sleep(0.005)


async def _is_read(app: CatgaApp) -> bool:
    target: str = await app.projections.target(NAME)
    return target != OLD


if __name__ == "__main__":
    asyncio.run(build(sys.argv[1], Moment(sys.argv[2])))
