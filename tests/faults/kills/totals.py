"""A read model in each kind of place: how many payments there were and of how much, written in the projection's transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from catga_core import CatgaApp
from catga_core.event_sourcing.projections import Projection, project
from catga_core.event_sourcing.projections.generations import Generation, Generations
from catga_core.interfaces import Storage
from catga_core.unit_of_work import connection_of
from catga_redis import RedisConnection
from catga_sqlite import SqliteConnection
from tests.faults.kills.domain import Paid

NAME = "totals"
_KEY = "{catga}:app:kills:totals"


class Totals(msgspec.Struct, frozen=True):
    """What the projection says.

    Parameters:
        count: how many payments.
        amount: of how much in all.
        checkpoint: the position up to which it has counted.
    """

    count: int
    amount: int
    checkpoint: int


class SqliteTotals(Projection, name=NAME):
    """Keeps them in a table of the application's own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @project
    async def count(self, event: Paid) -> None:
        """Add a payment."""
        async with self._storage.unit_of_work() as uow:
            sql = "UPDATE kills_totals SET count = count + 1, amount = amount + ?"
            await connection_of(uow, SqliteConnection).execute(sql, (event.amount,))

    async def reset(self) -> None:
        """Make the table."""
        async with self._storage.unit_of_work() as uow:
            await connection_of(uow, SqliteConnection).execute(
                "CREATE TABLE IF NOT EXISTS kills_totals (count INTEGER, amount INTEGER)"
            )
            await connection_of(uow, SqliteConnection).execute("DELETE FROM kills_totals")
            await connection_of(uow, SqliteConnection).execute("INSERT INTO kills_totals VALUES (0, 0)")


class RedisTotals(Projection, name=NAME):
    """Keeps them in a hash of the application's own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @project
    async def count(self, event: Paid) -> None:
        """Add a payment."""
        async with self._storage.unit_of_work() as uow:
            connection_of(uow, RedisConnection).queue("HINCRBY", _KEY, "count", 1)
            connection_of(uow, RedisConnection).queue("HINCRBY", _KEY, "amount", event.amount)

    async def reset(self) -> None:
        """Begin at nothing."""
        async with self._storage.unit_of_work() as uow:
            connection_of(uow, RedisConnection).queue("DEL", _KEY)


class Reader(ABC):
    """Reads the totals from outside of the application."""

    @abstractmethod
    async def read(self, app: CatgaApp) -> tuple[int, int]:
        """Return count and amount, zeros where there are none yet."""


class SqliteReader(Reader):
    """Reads the table."""

    async def read(self, app: CatgaApp) -> tuple[int, int]:
        async with app.unit_of_work() as uow:
            there = "SELECT 1 FROM sqlite_master WHERE name = 'kills_totals'"
            if await connection_of(uow, SqliteConnection).fetch_one(there) is None:
                return 0, 0
            row = await connection_of(uow, SqliteConnection).fetch_one(
                "SELECT count, amount FROM kills_totals"
            )
        return row or (0, 0)


class RedisReader(Reader):
    """Reads the hash."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self, app: CatgaApp) -> tuple[int, int]:
        from redis.asyncio import Redis

        async with Redis.from_url(self._url) as redis:
            found = await redis.hgetall(_KEY)
        return int(found.get(b"count", 0)), int(found.get(b"amount", 0))


async def totals_of(app: CatgaApp, reader: Reader) -> Totals:
    """Return what the projection says now; of one moment only while no application works."""
    count, amount = await reader.read(app)
    saved = await app.checkpoints.load(Generations(NAME, app.checkpoints).key_of(Generation(1, 0)))
    return Totals(count, amount, 0 if saved is None else saved.position)
