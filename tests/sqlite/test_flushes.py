"""Which commits are flushed to the disk at once, and when the others are."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Literal

import pytest

from catga_core.interfaces import HealthStatus, LeasedMessage, OutboxStore, Stores
from catga_sqlite import SqliteOptions, SqliteStorage, sqlite_stores
from catga_sqlite.engine import writer
from catga_sqlite.engine.jobs import Job
from catga_testing.contracts.stores.records import message
from catga_testing.waiting import eventually
from tests.sqlite.support import append, log_of, query

NORMAL, FULL, EXTRA = 1, 2, 3
FENCE = "SELECT value FROM catga_fence"
WRITE = "UPDATE catga_queue_numbers SET last = last + 1"


def level(connection: sqlite3.Connection) -> int:
    """Return the level at which the transaction that is open will be committed, and have it write something."""
    connection.execute(WRITE)
    found: int = connection.execute("PRAGMA synchronous").fetchone()[0]
    return found


def nothing(_connection: sqlite3.Connection) -> None:
    pass


def storage_of(stores: Stores) -> SqliteStorage:
    assert isinstance(stores.storage, SqliteStorage)
    return stores.storage


async def fence(file: Path) -> int:
    [(value,)] = await asyncio.to_thread(query, file, FENCE)
    return int(value)


async def test_commit_is_flushed_unless_no_caller_asks_for_it(stores: Stores) -> None:
    storage = storage_of(stores)

    alone = [await storage.write(level, flush=flush) for flush in (True, False, False, True)]
    together = await asyncio.gather(*(storage.write(level, flush=flush) for flush in (False, True, False)))
    await storage.write(level, flush=False)
    async with storage.unit_of_work():
        inside = await storage.write(level, flush=False)

    assert alone == [FULL, NORMAL, NORMAL, FULL]
    assert together == [FULL] * 3
    assert inside == FULL


@pytest.mark.parametrize(("synchronous", "levels"), [("EXTRA", [EXTRA, NORMAL, EXTRA]), ("OFF", [0, 0, 0])])
async def test_level_of_the_options_is_kept(
    file: Path, synchronous: Literal["EXTRA", "OFF"], levels: list[int]
) -> None:
    stores = sqlite_stores(SqliteOptions(file, synchronous=synchronous))
    storage = storage_of(stores)
    await storage.start()

    found = [await storage.write(level, flush=flush) for flush in (True, False, True)]
    await storage.stop()

    assert found == levels


async def test_leases_and_completions_of_the_outbox_are_not_flushed(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    put = writer.Writer.put

    def noted(self: writer.Writer, work: Any) -> None:
        assert isinstance(work, Job)
        flushed.append(work.flush)
        put(self, work)

    outbox: OutboxStore = stores[OutboxStore]
    await outbox.add([message("m-1"), message("m-2"), message("m-3")])
    monkeypatch.setattr(writer.Writer, "put", noted)

    first: list[LeasedMessage] = await outbox.lease(limit=1, lease=60)
    second = await outbox.lease(limit=1, lease=60, sent=first)
    await outbox.renew(second, lease=60)
    await outbox.complete(second)
    assert flushed == [False] * 4

    [last] = await outbox.lease(limit=1, lease=60)
    await outbox.retry(last, delay=0, error="refused")
    await outbox.add([message("m-4")])
    assert flushed[5:] == [True, True]


async def test_unflushed_commit_is_flushed_soon_and_once(
    file: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_UNFLUSHED", 0.02)
    storage = storage_of(stores)
    before = await fence(file)

    async def is_flushed() -> bool:
        return await fence(file) > before

    await storage.write(level, flush=False)
    await eventually(is_flushed)

    # Neither a commit that writes nothing nor one that was flushed needs another flush.
    await storage.write(nothing, flush=False)
    await storage.write(level)
    assert storage._writer is not None
    assert storage._writer._unflushed_since is None
    assert await fence(file) == before + 1


async def test_unflushed_commit_is_flushed_while_others_follow(
    file: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_UNFLUSHED", 0.02)
    storage = storage_of(stores)
    before = await fence(file)

    async def is_flushed() -> bool:
        await storage.write(level, flush=False)
        return await fence(file) > before

    await eventually(is_flushed)


async def test_unflushed_commit_is_flushed_at_the_stop(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    before = await fence(file)
    await storage_of(stores).write(level, flush=False)

    await stores.storage.stop()

    assert await fence(file) == before + 1


async def test_flush_that_fails_is_reported_and_repeated(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_UNFLUSHED", 0.02)
    stores = sqlite_stores(SqliteOptions(file, busy_timeout_seconds=0.01))
    storage = storage_of(stores)
    await storage.start()
    await storage.write(level, flush=False)
    before = await fence(file)
    other = await asyncio.to_thread(sqlite3.connect, file, check_same_thread=False, isolation_level=None)
    await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")

    await eventually(lambda: storage.health().status is HealthStatus.DEGRADED)
    await asyncio.to_thread(other.close)
    await log_of(stores).append([append("order-1")])

    async def is_flushed() -> bool:
        return await fence(file) > before

    await eventually(is_flushed)
    await eventually(lambda: storage.health().status is HealthStatus.HEALTHY)
    await storage.stop()
