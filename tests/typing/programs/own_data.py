"""An application's own data in a unit of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from catga_core import CatgaApp
from catga_core.interfaces import Storage
from catga_core.memory import MemoryConnection, MemoryRows
from catga_core.unit_of_work import connection_of
from catga_redis import RedisConnection
from catga_sqlite import SqliteConnection, SqliteResult


@dataclass(frozen=True)
class Note:
    text: str


async def own_data(app: CatgaApp, storage: Storage) -> None:
    async with app.unit_of_work() as uow:
        assert_type(uow.connection, object)
        assert_type(connection_of(uow, SqliteConnection), SqliteConnection)
        assert_type(await connection_of(uow, SqliteConnection).execute("SELECT 1"), SqliteResult)
        connection_of(uow, RedisConnection).queue("SET", "{catga}:app:a", 1)
        own = uow.connection
        own.execute("")  # E: mypy[attr-defined] pyright[reportAttributeAccessIssue,reportUnknownMemberType]
    async with storage.unit_of_work() as uow:
        rows = await connection_of(uow, MemoryConnection).table("notes", Note)
        assert_type(rows, MemoryRows[Note])
        rows["1"] = Note("tea")
        rows["1"] = "tea"  # E: mypy[assignment] pyright[reportArgumentType]
        assert_type(rows["1"], Note)
