"""Stores of a Redis for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

import catga_redis.stores  # noqa: F401 - loaded here: imported within a loop, its reading of files would block that
from catga_core import Clock, SystemClock
from catga_core.identifiers import new_id
from catga_core.interfaces import (
    ANY,
    EventLog,
    EventRecord,
    IdempotencyStore,
    InboxStore,
    LockProvider,
    OutboxStore,
    StreamAppend,
)
from catga_redis import RedisOptions, RedisStorage, redis_stores


class Kept(msgspec.Struct, frozen=True):
    """The stores of a Redis, none of them missing."""

    storage: RedisStorage
    log: EventLog
    idempotency: IdempotencyStore
    inbox: InboxStore
    outbox: OutboxStore
    locks: LockProvider


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None, **options: Any) -> AsyncIterator[Kept]:
    """Give started stores, under a prefix of their own unless one is given."""
    settings = RedisOptions(url, **{"prefix": f"test-{new_id()}", **options})
    stores = redis_stores(settings, clock or SystemClock())
    kept = Kept(
        cast("RedisStorage", stores.storage),
        stores[EventLog],
        stores[IdempotencyStore],
        stores[InboxStore],
        stores[OutboxStore],
        stores[LockProvider],
    )
    await kept.storage.start()
    try:
        yield kept
    finally:
        await kept.storage.stop()


def event(message_id: str | None = None, data: bytes = b"{}") -> EventRecord:
    return EventRecord(message_id or new_id(), "Happened", 1, "json", data, 0)


def appends(stream: str, *records: EventRecord, expected: int = ANY) -> list[StreamAppend]:
    return [StreamAppend(stream, expected, records or (event(),))]
