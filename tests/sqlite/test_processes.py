"""Several processes on one file, and processes that are killed."""

from __future__ import annotations

import asyncio
import contextvars
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import Stores
from catga_sqlite import SqliteOptions, sqlite_stores
from tests.sqlite.support import append, log_of, query, run

APPENDING = """
import asyncio, sys
from catga_core.interfaces import ANY, EventLog, EventRecord, StreamAppend
from catga_sqlite import SqliteOptions, sqlite_stores

file, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def main():
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()

    async def caller(number):
        for each in range(count):
            identity = f"{name}-{number}-{each}"
            events = [EventRecord(f"{identity}-{part}", "Paid", 1, "json", b"{}", 1) for part in "ab"]
            await stores[EventLog].append([StreamAppend("shared", ANY, events), StreamAppend(name, ANY, events)])
            print(identity, flush=True)

    await asyncio.gather(*(caller(number) for number in range(8)))
    await stores.storage.stop()

asyncio.run(main())
"""


def test_processes_append_to_one_stream_without_gaps_and_without_loss(file: Path) -> None:
    processes = [run(APPENDING, file, name, 20) for name in ("a", "b", "c")]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert len(output.split()) == 8 * 20

    shared = "SELECT version FROM catga_events JOIN catga_streams s ON s.id = stream WHERE s.name = 'shared' ORDER BY version"
    assert query(file, shared) == [(number,) for number in range(1, 3 * 8 * 20 * 2 + 1)]
    positions = query(file, "SELECT position FROM catga_events ORDER BY position")
    assert positions == [(number,) for number in range(1, 2 * 3 * 8 * 20 * 2 + 1)]


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_leaves_what_it_acknowledged_and_nothing_in_halves(file: Path, seed: int) -> None:
    process = run(APPENDING, file, "a", 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(20)]
    time.sleep(random.Random(seed).uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    # The last line may have been cut off.
    said += filter(None, output.split("\n")[:-1])

    async def there() -> dict[str, list[str]]:
        stores = sqlite_stores(SqliteOptions(file))
        await stores.storage.start()
        found: dict[str, list[str]] = {"shared": [], "a": []}
        for event in await log_of(stores).read_all(after=0, limit=10**9):
            found[event.stream_id].append(event.record.message_id)
        await stores.storage.stop()
        return found

    found = asyncio.run(there())
    assert found["shared"] == found["a"]
    assert len(found["a"]) % 2 == 0
    assert {f"{identity}-{part}" for identity in said for part in "ab"} <= set(found["a"])
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


async def test_a_file_that_another_process_holds_is_waited_for_and_then_given_up(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file, busy_timeout_seconds=0.2))
    await stores.storage.start()
    log = log_of(stores)
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")

        began = time.monotonic()
        with pytest.raises(CatgaError, match="busy_timeout_seconds") as raised:
            await log.append([append("order-1")])
        waited = time.monotonic() - began
        with pytest.raises(CatgaError, match="busy_timeout_seconds"):
            async with stores.storage.unit_of_work():
                await log.append([append("order-1")])

        assert (raised.value.code, raised.value.retryable) == (ErrorCode.PERSISTENCE_FAILED, True)
        assert raised.value.details["outcome"] == "not_written"
        assert 0.2 <= waited < 5
        assert stores.storage.health().status == "degraded"
        assert await log.head() == 0
        appending = asyncio.create_task(log.append([append("order-1")]))
        await asyncio.sleep(0.02)
        await asyncio.to_thread(other.execute, "ROLLBACK")

        assert [each.version for each in await appending] == [1]
    assert stores.storage.health().status == "healthy"
    await stores.storage.stop()


@pytest.mark.parametrize("who", ["this process", "another"])
async def test_who_waits_is_woken_by_what_is_written(file: Path, who: str) -> None:
    # Others' writes are looked for; this process's own come at once, however seldom one looks.
    options = SqliteOptions(file, poll_seconds=0.02 if who == "another" else 60)
    waiting, writing = sqlite_stores(options), sqlite_stores(options)
    await waiting.storage.start()
    await writing.storage.start()
    writer: Stores = waiting if who == "this process" else writing
    waiter = asyncio.create_task(log_of(waiting).wait(after=0, timeout=30))
    await asyncio.sleep(0.1)
    await log_of(writer).append([append("order-1")])

    async with asyncio.timeout(5):
        await waiter
    assert await log_of(waiting).head() == 1
    await waiting.storage.stop()
    await writing.storage.stop()


async def test_stopping_ends_those_who_wait(stores: Stores) -> None:
    waiting = asyncio.create_task(log_of(stores).wait(after=0, timeout=30), context=contextvars.Context())
    await asyncio.sleep(0.05)

    await stores.storage.stop()

    async with asyncio.timeout(5):
        await waiting
