"""What a long history costs: a log of 1,000,000 events beside one of a few, a stream of 10,000 beside one of 100."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.measure import Row, paired
from catga_core.clock import SystemClock
from catga_core.interfaces import ANY, EventLog, EventRecord, Stores, StreamAppend

EVENTS = 1_000_000
LONG = 10_000
_AT_ONCE = 500
_DATA = b"\x82\xa8order_id\xacorder-123456\xa6amount\xcd\x10h"
_numbers = itertools.count()


def _records(count: int) -> list[EventRecord]:
    return [
        EventRecord(f"m-{next(_numbers)}", "Paid", 1, "msgpack", _DATA, 1_790_000_000_000_000, "c")
        for _ in range(count)
    ]


async def _append(log: EventLog, stream: str, count: int) -> None:
    await log.append([StreamAppend(stream, ANY, _records(count))])


async def _fill(log: EventLog, events: int) -> None:
    await _streams(log, "long", LONG, 1)

    async def lane(number: int) -> None:
        await _streams(log, f"lane-{number}", 1_000, events // 8 // 1_000)

    await asyncio.gather(*(lane(number) for number in range(8)))


async def _streams(log: EventLog, name: str, length: int, count: int) -> None:
    for number in range(count):
        for _ in range(max(1, length // _AT_ONCE)):
            await _append(log, f"{name}-{number}", min(_AT_ONCE, length))


def _repeated(times: int, call: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[float]]:
    async def slice_() -> float:
        begun = time.perf_counter()
        for _ in range(times):
            await call()
        return time.perf_counter() - begun

    return slice_


async def measure(name: str, few: EventLog, many: EventLog, rounds: int) -> list[Row]:
    """Return the rows of one store.

    Args:
        name: The store's.
        few: An empty log.
        many: Another one of the same kind, to be filled.
        rounds: How many slices.
    """
    await _streams(few, "short", 100, 1)
    await _streams(many, "short", 100, 1)
    await _fill(many, EVENTS)
    head = await many.head()

    def tail(log: EventLog, stream: str, length: int) -> Callable[[], Awaitable[object]]:
        return lambda: log.read_stream(
            stream, from_version=length - 99, to_version=length, limit=100, backward=False
        )

    pairs = {
        f"{name}: append to a log of {EVENTS:,} / of 100": (
            lambda: _append(many, f"new-{next(_numbers) % 100}", 1),
            lambda: _append(few, f"new-{next(_numbers) % 100}", 1),
        ),
        f"{name}: read 100 in the middle of {EVENTS:,} / of 100": (
            lambda: many.read_all(after=head // 2, limit=100),
            lambda: few.read_all(after=0, limit=100),
        ),
        f"{name}: append to a stream of {LONG:,} / of 100": (
            lambda: _append(many, "long-0", 1),
            lambda: _append(many, f"lane-0-{next(_numbers) % 20}", 1),
        ),
        f"{name}: the last 100 of {LONG:,} / of 100": (
            tail(many, "long-0", LONG),
            tail(many, "short-0", 100),
        ),
    }
    rows: list[Row] = []
    for title, (ours, limit) in pairs.items():
        speed, our, other = await paired(_repeated(100, ours), _repeated(100, limit), rounds=rounds)
        rows.append(Row(title, 1 / speed, our * 1e4, other * 1e4, "us", "<= 2"))
    return rows


@asynccontextmanager
async def _opened(few: Stores, many: Stores) -> AsyncGenerator[tuple[EventLog, EventLog]]:
    for stores in (few, many):
        await stores.storage.start()
    try:
        yield few[EventLog], many[EventLog]
    finally:
        for stores in (few, many):
            await stores.storage.stop()


async def _sqlite(rounds: int) -> list[Row]:
    from catga_sqlite import SqliteOptions, sqlite_stores

    with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
        few, many = (sqlite_stores(SqliteOptions(Path(folder) / name)) for name in ("few.db", "many.db"))
        async with _opened(few, many) as logs:
            return await measure("SQLite", *logs, rounds)


async def _redis(rounds: int) -> list[Row]:
    from catga_redis import RedisOptions, redis_stores
    from catga_testing.servers import ValkeyServer

    async with ValkeyServer() as server:
        few, many = (
            redis_stores(RedisOptions(server.url, prefix=prefix), SystemClock()) for prefix in ("few", "many")
        )
        async with _opened(few, many) as logs:
            return await measure("Redis", *logs, rounds)


async def run(rounds: int) -> list[Row]:
    """Return the rows of the table."""
    return await _sqlite(rounds) + await _redis(rounds)
