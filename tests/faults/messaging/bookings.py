"""What handlers have written in their units of work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from tests.faults.messaging.application import BOOKED_LIST, BOOKED_TABLE, queues_of
from tests.faults.messaging.checks import Effect
from tests.faults.messaging.plan import BOOKED
from tests.faults.messaging.ways import Way, stored_over


def prepare_bookings(way: Way) -> None:
    """Make the tables that handlers write to.

    Args:
        way: Reaches the storages.
    """
    for url in way.inboxes or (way.store,):
        if stored_over(url) == "sqlite":
            with closing(sqlite3.connect(_path_of(url))) as connection:
                connection.execute(BOOKED_TABLE)


async def booked(way: Way) -> list[Effect]:
    """Return what handlers have written in their units of work, in its order for each queue.

    Args:
        way: Reaches the storages.
    """
    found: list[Effect] = []
    for url, queue in zip(way.inboxes or (way.store,), queues_of(way, BOOKED), strict=True):
        # Numbered by their order, which is all that is known of their times.
        found += [
            Effect(queue, id, key, int(number), float(at), float(at), stale=False)
            for at, (id, key, number) in enumerate(await _rows(url))
        ]
    return found


async def _rows(url: str) -> list[Any]:
    if stored_over(url) == "sqlite":
        with closing(sqlite3.connect(_path_of(url))) as connection:
            return connection.execute("SELECT id, key, number FROM messaging_booked ORDER BY seq").fetchall()
    from redis.asyncio import Redis

    server = url.partition("?")[0]
    async with Redis.from_url(server, decode_responses=True) as redis:
        return [str(row).split() for row in await redis.lrange(BOOKED_LIST, 0, -1)]


def _path_of(url: str) -> str:
    return url.removeprefix("sqlite:///").partition("?")[0]
