"""The Redis stores beside redis-py itself: the same scripts on the same server, by the raw client and by the stores.

Run it alone with `python -m benchmarks.redis_stores`. Client and server share one CPU, so that the work of both counts: a wake-up
across two costs as much as a command, and twice as much at other times.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from benchmarks.measure import Row, paired, table
from catga_core import SystemClock
from catga_core.identifiers import new_id
from catga_core.interfaces import NO_STREAM, EventLog, EventRecord, IdempotencyStore, StreamAppend
from catga_core.storage_support.records import encode_event
from catga_redis import RedisOptions, redis_stores
from catga_redis.engine.scripts import load_scripts
from catga_testing.servers import ValkeyServer

AT_ONCE = 64
DATA = b"x" * 120

Operation = Callable[[], Awaitable[object]]


def record() -> EventRecord:
    identity = new_id()
    return EventRecord(identity, "Paid", 1, "msgpack", DATA, 1_790_000_000_000_000, identity)


async def in_turn(operation: Operation, count: int) -> float:
    """Return the seconds of so many, one after another."""
    began = time.perf_counter()
    for _ in range(count):
        await operation()
    return time.perf_counter() - began


async def at_once(operation: Operation, count: int) -> float:
    """Return the seconds of so many, by many callers."""

    async def caller() -> None:
        for _ in range(count // AT_ONCE):
            await operation()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


async def measure(url: str, rounds: int) -> list[Row]:
    stores = redis_stores(RedisOptions(url, prefix="bench"), SystemClock())
    log, idempotency = stores[EventLog], stores[IdempotencyStore]
    assert log is not None
    assert idempotency is not None
    raw = Redis.from_url(url, protocol=3)
    scripts = load_scripts().operations
    root = "{raw}:"

    async def append() -> None:
        await log.append([StreamAppend(new_id(), NO_STREAM, [record()])])

    async def raw_append() -> None:
        event = record()
        await raw.evalsha(
            scripts["append_one"].sha,
            1,
            root,
            "",
            new_id(),
            NO_STREAM,
            event.message_id,
            encode_event(event),
        )

    async def claim() -> None:
        await idempotency.claim(new_id(), lease=30.0)

    async def raw_claim() -> None:
        sha = scripts["claim"].sha
        await raw.evalsha(sha, 1, root, "", new_id(), new_id(), 30.0, 86400.0)

    rows: list[Row] = []
    await stores.storage.start()
    try:
        for name in ("append_one", "claim"):
            await raw.script_load(scripts[name].body)
        for what, ours, limit in (("append", append, raw_append), ("claim of a key", claim, raw_claim)):
            for way, run, count, goal in (
                ("one caller / redis-py's evalsha", in_turn, 400, ">= 0.9"),
                (f"{AT_ONCE} callers / redis-py, one command each", at_once, 1280, ">= 3"),
            ):
                ratio, our_seconds, limit_seconds = await paired(
                    lambda run=run, ours=ours, count=count: run(ours, count),  # type: ignore[misc]
                    lambda run=run, limit=limit, count=count: run(limit, count),  # type: ignore[misc]
                    rounds=rounds,
                )
                rows.append(
                    Row(
                        f"{what}, {way}",
                        ratio,
                        count / our_seconds,
                        count / limit_seconds,
                        "operations/s",
                        goal,
                    )
                )
    finally:
        await raw.aclose()
        await stores.storage.stop()
    return rows


def run(rounds: int) -> list[Row]:
    """Measure on a server of our own, AOF every second."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with ValkeyServer(appendfsync="everysec") as server:
            return asyncio.run(measure(server.url, rounds))
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    print(table(run(parser.parse_args().rounds)))
