"""Aggregates of 100 events, loaded and saved: beside the same fold written by hand, and beside the library `eventsourcing`.

Run it alone with `python -m benchmarks.event_sourcing`.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.measure import Row, paired, table
from catga_core import Event, SystemClock
from catga_core.event_sourcing import (
    Aggregate,
    AggregateRepository,
    EventTypes,
    LogEventStore,
    apply,
)
from catga_core.interfaces import EventLog, Stores
from catga_core.memory.stores import memory_stores
from catga_sqlite import SqliteOptions, sqlite_stores

EVENTS = 100
LOADS = 40  # in one slice


class Paid(Event):
    order_id: str
    amount: int
    customer: str
    note: str


PAID = Paid("order-123456", 42, "customer-9876", "thank you for your order")


class Account(Aggregate):
    balance: int = 0
    count: int = 0

    @apply
    def paid(self, event: Paid) -> None:
        self.balance += event.amount
        self.count += 1


class ByHand:
    """The state as one writes it where nothing is to be gained by a library."""

    def __init__(self) -> None:
        self.balance = 0
        self.count = 0

    def paid(self, event: Paid) -> None:
        self.balance += event.amount
        self.count += 1


def repository(stores: Stores) -> AggregateRepository[Account]:
    return AggregateRepository(Account, LogEventStore(stores[EventLog], EventTypes(), SystemClock()))


async def _filled(accounts: AggregateRepository[Account], id: str) -> None:
    account = Account(id)
    for _ in range(EVENTS):
        account.raise_event(PAID)
    await accounts.save(account)


def _loading(accounts: AggregateRepository[Account]) -> Callable[[], Awaitable[float]]:
    async def load() -> float:
        start = time.perf_counter()
        for _ in range(LOADS):
            account = await accounts.load("1")
        assert account.count == EVENTS
        return (time.perf_counter() - start) / LOADS

    return load


async def _in_memory(rounds: int) -> list[Row]:
    accounts = repository(memory_stores())
    await _filled(accounts, "1")
    data = [msgspec.msgpack.encode(PAID)] * EVENTS
    decode = msgspec.msgpack.Decoder(Paid).decode

    async def by_hand() -> float:
        start = time.perf_counter()
        for _ in range(LOADS):
            state = ByHand()
            for each in data:
                state.paid(decode(each))
        return (time.perf_counter() - start) / LOADS

    ratio, ours, limit = await paired(_loading(accounts), by_hand, rounds=rounds)
    title = f"load {EVENTS} events in memory / decode and fold"
    rows = [Row(title, 1 / ratio, ours * 1e6, limit * 1e6, "us")]
    peer = _peer({})
    if peer is not None:
        ratio, ours, theirs = await paired(_loading(accounts), peer, rounds=rounds)
        title = f"load {EVENTS} events in memory / eventsourcing"
        rows.append(Row(title, 1 / ratio, ours * 1e6, theirs * 1e6, "us", "<= 0.1"))
    return rows


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[AggregateRepository[Account]]:
    stores = sqlite_stores(SqliteOptions(path))
    await stores.storage.start()
    try:
        yield repository(stores)
    finally:
        await stores.storage.stop()


async def _on_sqlite(folder: Path, rounds: int) -> list[Row]:
    raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, message_id TEXT, name TEXT, "
        "recorded_at INTEGER, correlation_id TEXT, data BLOB, UNIQUE (stream, version))"
    )
    data = msgspec.msgpack.encode(PAID)
    raw.executemany(
        "INSERT INTO events (stream, version, message_id, name, recorded_at, correlation_id, data) "
        "VALUES ('account-1', ?, ?, 'Paid', 0, NULL, ?)",
        [(version, f"{version:032x}", data) for version in range(1, EVENTS + 1)],
    )
    decode = msgspec.msgpack.Decoder(Paid).decode
    query = (
        "SELECT position, version, message_id, name, recorded_at, correlation_id, data FROM events WHERE stream = ? "
        "ORDER BY version"
    )

    async def by_hand() -> float:
        start = time.perf_counter()
        for _ in range(LOADS):
            state = ByHand()
            for row in raw.execute(query, ("account-1",)).fetchall():
                state.paid(decode(row[6]))
        return (time.perf_counter() - start) / LOADS

    async with _opened(folder / "ours.db") as accounts:
        await _filled(accounts, "1")
        ratio, ours, limit = await paired(_loading(accounts), by_hand, rounds=rounds)
        title = f"load {EVENTS} events from SQLite / SELECT, decode and fold"
        rows = [Row(title, 1 / ratio, ours * 1e6, limit * 1e6, "us", "<= 3")]
        database = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "peer.db")}
        peer = _peer(database)
        if peer is not None:
            ratio, ours, theirs = await paired(_loading(accounts), peer, rounds=rounds)
            title = f"load {EVENTS} events from SQLite / eventsourcing"
            rows.append(Row(title, 1 / ratio, ours * 1e6, theirs * 1e6, "us", "<= 0.1"))
    raw.close()
    return rows


def _peer(environment: dict[str, str]) -> Callable[[], Awaitable[float]] | None:
    try:
        from benchmarks.eventsourcing_aggregate import loading
    except ImportError:
        return None
    load = loading(environment, EVENTS, (PAID.order_id, PAID.amount, PAID.customer, PAID.note))

    async def loaded() -> float:
        return load(LOADS // 4)

    return loaded


async def measure(rounds: int) -> list[Row]:
    rows = await _in_memory(rounds)
    with tempfile.TemporaryDirectory() as folder:
        rows += await _on_sqlite(Path(folder), rounds)
    return rows


def run(rounds: int) -> list[Row]:
    return asyncio.run(measure(rounds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event_sourcing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    print(table(run(parser.parse_args().rounds)))
