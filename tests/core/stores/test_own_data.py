"""An application's own data is written with everything else, or not at all, in every store."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from catga_core import CatgaApp, CatgaError, Command, ErrorCode, Event
from catga_core.interfaces import Storage, UnitOfWork
from catga_core.memory import MemoryConnection, MemoryRows
from catga_core.memory.storage import MemoryStorage
from catga_core.unit_of_work import connection_of
from catga_redis import RedisConnection, RedisStorage
from catga_sqlite import SqliteConnection
from tests.stores import Place


class OwnPlaced(Event):
    number: int


class OwnRow(msgspec.Struct, frozen=True):
    total: int


class OwnPlace(Command[None]):
    key: str
    total: int
    fail: bool = False


async def write(place: Place, unit: UnitOfWork, key: str, total: int) -> None:
    """Write a row of one's own, as it is done in the store of a place."""
    if place.name == "memory":
        rows = await connection_of(unit, MemoryConnection).table("own", OwnRow)
        rows[key] = OwnRow(total)
    elif place.name == "sqlite":
        sql = "INSERT INTO own VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET total = excluded.total"
        await connection_of(unit, SqliteConnection).execute(sql, (key, total))
    else:
        connection_of(unit, RedisConnection).queue("HSET", f"{root(unit)}app:own", key, total)


async def read(place: Place, app: CatgaApp) -> dict[str, int]:
    async with app.unit_of_work() as unit:
        if place.name == "memory":
            rows = await connection_of(unit, MemoryConnection).table("own", OwnRow)
            return {key: row.total for key, row in rows.items()}
        if place.name == "sqlite":
            found = await connection_of(unit, SqliteConnection).fetch_all("SELECT key, total FROM own")
            return dict(found)
        storage: Any = app.get(Storage)
        stored = await storage.commands.read("HGETALL", f"{root(unit)}app:own")
        return {key.decode(): int(total) for key, total in stored.items()}


def root(unit: Any) -> str:
    storage: RedisStorage = unit.storage
    return storage.root


async def prepare(place: Place, app: CatgaApp) -> None:
    if place.name == "sqlite":
        async with app.unit_of_work() as unit:
            await connection_of(unit, SqliteConnection).execute(
                "CREATE TABLE own (key TEXT PRIMARY KEY, total INTEGER)"
            )


async def test_own_data_is_committed_with_the_stores_and_rolled_back_with_them(place: Place) -> None:
    async with place.container().running() as app:
        await prepare(place, app)
        async with app.unit_of_work() as unit:
            await write(place, unit, "a", 1)
            await app.event_store.append("s", OwnPlaced(1))
        with pytest.raises(ZeroDivisionError):
            async with app.unit_of_work() as unit:
                await write(place, unit, "a", 2)
                await write(place, unit, "b", 2)
                await app.event_store.append("s", OwnPlaced(2))
                raise ZeroDivisionError

        assert await read(place, app) == {"a": 1}
        assert await app.event_store.version("s") == 1


async def test_own_data_of_a_failed_command_is_rolled_back(place: Place) -> None:
    catga = place.container(enable_outbox=True)

    async def handle(message: OwnPlace, storage: Storage) -> None:
        async with storage.unit_of_work() as unit:
            await write(place, unit, message.key, message.total)
        if message.fail:
            raise ValueError

    catga.add_handlers(handle)
    async with catga.running() as app:
        await prepare(place, app)
        results = [await app.mediator.send(each) for each in (OwnPlace("a", 1), OwnPlace("b", 2, fail=True))]

        assert [each.is_success for each in results] == [True, False]
        assert await read(place, app) == {"a": 1}


async def test_connection_of_another_store_is_refused_with_the_one_there_is(place: Place) -> None:
    wrong = SqliteConnection if place.name != "sqlite" else MemoryConnection
    async with place.container().running() as app, app.unit_of_work() as unit:
        with pytest.raises(
            CatgaError, match=rf"gives a \w+Connection; expected a {wrong.__name__}"
        ) as refused:
            connection_of(unit, wrong)

    assert (refused.value.code, refused.value.retryable) == (ErrorCode.PERSISTENCE_FAILED, False)


# --- memory ---


async def rows_of(unit: UnitOfWork, name: str = "own") -> MemoryRows[OwnRow]:
    return await connection_of(unit, MemoryConnection).table(name, OwnRow)


async def test_rows_in_memory_are_a_dictionary_of_the_unit_of_work() -> None:
    storage = MemoryStorage()
    async with storage.unit_of_work() as unit:
        rows = await rows_of(unit)
        rows["a"], rows["b"], rows["c"] = OwnRow(1), OwnRow(2), OwnRow(3)
        del rows["b"]
        assert await rows_of(unit, "other") == {}
        assert dict(rows) == {"a": OwnRow(1), "c": OwnRow(3)}
        assert (len(rows), "b" in rows, rows.get("b")) == (2, False, None)
        with pytest.raises(KeyError):
            rows["b"]

    async with storage.unit_of_work() as unit:
        assert dict(await rows_of(unit)) == {"a": OwnRow(1), "c": OwnRow(3)}


async def test_rows_in_memory_lose_no_update_of_units_of_work_at_once() -> None:
    storage = MemoryStorage()

    async def add() -> None:
        async with storage.unit_of_work() as unit:
            rows = await rows_of(unit)
            total = rows.get("a", OwnRow(0)).total
            await asyncio.sleep(0)
            rows["a"] = OwnRow(total + 1)

    await asyncio.gather(*(add() for _ in range(20)))

    async with storage.unit_of_work() as unit:
        assert (await rows_of(unit))["a"] == OwnRow(20)


async def test_rows_in_memory_end_with_their_unit_of_work() -> None:
    storage = MemoryStorage()
    async with storage.unit_of_work() as unit:
        connection, rows = unit.connection, await rows_of(unit)

    with pytest.raises(CatgaError, match="has ended"):
        rows["late"] = OwnRow(1)
    with pytest.raises(CatgaError, match="has ended"):
        rows.get("late")
    with pytest.raises(CatgaError, match="has ended"):
        await connection.table("own", OwnRow)
    with pytest.raises(CatgaError, match="has ended"):
        _ = unit.connection


@pytest.mark.parametrize("name", ["", "\ud800", None])
async def test_table_in_memory_has_a_name(name: Any) -> None:
    async with MemoryStorage().unit_of_work() as unit:
        with pytest.raises(ValueError, match="name must be"):
            await unit.connection.table(name, OwnRow)


async def test_own_data_of_a_nested_block_that_fails_is_rolled_back_alone(place: Place) -> None:
    async with place.container().running() as app:
        await prepare(place, app)
        async with app.unit_of_work() as unit:
            await write(place, unit, "a", 1)
            with pytest.raises(ZeroDivisionError):
                async with app.unit_of_work() as nested:
                    await write(place, nested, "a", 2)
                    await write(place, nested, "b", 2)
                    raise ZeroDivisionError
            await write(place, unit, "c", 3)

        assert await read(place, app) == {"a": 1, "c": 3}
