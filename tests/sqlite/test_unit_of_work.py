"""An application's own tables, in the transaction of the stores."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
from pathlib import Path

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.errors import ConcurrencyError
from catga_core.interfaces import NO_STREAM, Stores
from catga_sqlite import SqliteOptions, SqliteStorage, sqlite_stores
from tests.sqlite.support import append, log_of, prepare_writer, query, record

TABLE = "CREATE TABLE orders (id TEXT PRIMARY KEY, total INTEGER NOT NULL)"


@pytest.fixture
def storage(stores: Stores) -> SqliteStorage:
    assert isinstance(stores.storage, SqliteStorage)
    return stores.storage


@pytest.fixture(autouse=True)
async def table(storage: SqliteStorage) -> None:
    async with storage.unit_of_work() as unit:
        await unit.connection.execute(TABLE)


async def test_own_rows_and_events_are_committed_together(
    stores: Stores, storage: SqliteStorage, file: Path
) -> None:
    async with storage.unit_of_work() as unit:
        done = await unit.connection.execute("INSERT INTO orders VALUES (?, ?)", ("o-1", 42))
        await log_of(stores).append([append("order-o-1")])
        early = await asyncio.to_thread(query, file, "SELECT * FROM orders")

    assert (done.rows, done.rowcount, done.lastrowid) == ([], 1, 1)
    assert early == []
    assert await asyncio.to_thread(query, file, "SELECT * FROM orders") == [("o-1", 42)]
    assert await log_of(stores).version("order-o-1") == 1


async def test_own_rows_and_events_are_rolled_back_together(
    stores: Stores, storage: SqliteStorage, file: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with storage.unit_of_work() as unit:
            await log_of(stores).append([append("order-o-1")])
            await unit.connection.execute("INSERT INTO orders VALUES ('o-1', 42)")
            raise ZeroDivisionError

    assert await asyncio.to_thread(query, file, "SELECT * FROM orders") == []
    assert await log_of(stores).head() == 0


async def test_a_cancelled_block_is_rolled_back(stores: Stores, storage: SqliteStorage, file: Path) -> None:
    inserted = asyncio.Event()

    async def work() -> None:
        async with storage.unit_of_work() as unit:
            await unit.connection.execute("INSERT INTO orders VALUES ('o-1', 42)")
            inserted.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await inserted.wait()
    working.cancel()
    await asyncio.wait({working})

    assert working.cancelled()
    assert await asyncio.to_thread(query, file, "SELECT * FROM orders") == []
    await log_of(stores).append([append("the file is free")])


async def test_queries_see_what_the_block_has_written(storage: SqliteStorage) -> None:
    async with storage.unit_of_work() as unit:
        rows = [("o-1", 1), ("o-2", 2), ("o-3", 3)]
        done = await unit.connection.executemany("INSERT INTO orders VALUES (?, ?)", iter(rows))
        all_of_them = await unit.connection.fetch_all("SELECT * FROM orders ORDER BY id")
        one = await unit.connection.fetch_one(
            "SELECT id FROM orders WHERE total > :low ORDER BY id", {"low": 1}
        )
        none = await unit.connection.fetch_one("SELECT id FROM orders WHERE total > 9")

    assert (done.rowcount, done.rows) == (3, ())
    assert (all_of_them, one, none) == (rows, ("o-2",), None)


async def test_a_statement_that_fails_has_had_no_effect_and_the_block_goes_on(
    storage: SqliteStorage, file: Path
) -> None:
    async with storage.unit_of_work() as unit:
        await unit.connection.execute("INSERT INTO orders VALUES ('o-1', 1)")
        with pytest.raises(sqlite3.IntegrityError):
            await unit.connection.executemany("INSERT INTO orders VALUES (?, ?)", [("o-2", 2), ("o-1", 3)])
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await unit.connection.execute("INSERT INTO nowhere VALUES (1)")

    assert await asyncio.to_thread(query, file, "SELECT * FROM orders") == [("o-1", 1)]


async def test_a_refused_append_leaves_the_rest_of_the_block(stores: Stores, storage: SqliteStorage) -> None:
    log = log_of(stores)
    async with storage.unit_of_work():
        await log.append([append("order-1")])
        with pytest.raises(ConcurrencyError):
            await log.append([append("order-2"), append("order-1", expected=NO_STREAM)])
        with pytest.raises(CatgaError, match="recorded_at"):
            await log.append([append("order-3", record(), record(recorded_at="now"))])
        await log.append([append("order-1", record(), expected=1)])

    assert [each.stream_id for each in await log.read_all(after=0, limit=9)] == ["order-1", "order-1"]


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        " commit;",
        "END",
        "ROLLBACK",
        "-- a remark\nROLLBACK",
        "/* a remark */ BEGIN",
        "; COMMIT",
        "\ufeffCOMMIT",
        "\ufeff \ufeff;\ufeffROLLBACK",
        "-- a remark\n\ufeffRELEASE catga_job",
        "/* a remark */\ufeffSAVEPOINT mine",
        "\ufeffPRAGMA synchronous = OFF",
        "SAVEPOINT mine",
        "RELEASE catga_job",
        "ATTACH 'other.db' AS other",
        "DETACH other",
        "PRAGMA synchronous = OFF",
        "VACUUM",
    ],
)
async def test_statements_that_are_not_a_blocks_own_are_refused(
    storage: SqliteStorage, file: Path, sql: str
) -> None:
    async with storage.unit_of_work() as unit:
        await unit.connection.execute("INSERT INTO orders VALUES ('o-1', 1)")
        for execute in (unit.connection.execute, unit.connection.fetch_one):
            with pytest.raises(CatgaError, match=r"uow\.connection does not execute") as raised:
                await execute(sql)
            assert raised.value.code == ErrorCode.VALIDATION_FAILED
        with pytest.raises(CatgaError):
            await unit.connection.executemany(sql, [])
        assert await asyncio.to_thread(query, file, "SELECT * FROM orders") == []

    assert await asyncio.to_thread(query, file, "SELECT * FROM orders") == [("o-1", 1)]


async def test_a_block_has_the_file_only_from_its_first_write(stores: Stores, storage: SqliteStorage) -> None:
    log = log_of(stores)
    await log.append([append("order-1")])
    async with storage.unit_of_work():
        assert await log.version("order-1") == 1
        # Else this would wait for the block, which waits for it.
        await asyncio.create_task(log.append([append("order-1")]), context=contextvars.Context())
        await log.append([append("order-1", expected=2)])

    assert await log.version("order-1") == 3


async def test_a_connection_is_of_no_use_after_its_block(storage: SqliteStorage) -> None:
    async with storage.unit_of_work() as unit:
        connection = unit.connection

    with pytest.raises(CatgaError, match="has ended"):
        await connection.execute("SELECT 1")


async def test_a_full_file_rolls_the_whole_block_back_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_writer(monkeypatch, lambda connection: connection.execute("PRAGMA max_page_count = 60"))
    stores = sqlite_stores(SqliteOptions(tmp_path / "small.db"))
    await stores.storage.start()
    storage, log = stores.storage, log_of(stores)
    assert isinstance(storage, SqliteStorage)
    large = "x" * 500_000

    with pytest.raises(CatgaError) as raised:
        async with storage.unit_of_work() as unit:
            await log.append([append("order-1")])
            await unit.connection.execute("CREATE TABLE notes (text TEXT)")
            with pytest.raises(sqlite3.Error):
                await unit.connection.execute("INSERT INTO notes VALUES (?)", (large,))
            with pytest.raises(CatgaError):
                for _ in range(500):
                    await log.append([append("order-2", record(data=b"x" * 20_000))])
            await log.append([append("order-3")])

    assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
    assert raised.value.details["outcome"] == "not_written"
    assert await log.head() == 0
    await log.append([append("order-1")])
    await storage.stop()
