"""The SQLite stores beside sqlite3 itself, with the same `synchronous` on both sides.

Appends go through `app.event_store.append`, as a user calls it; their limit writes stream, version and data into a lean table.
Run it alone with `python -m benchmarks.sqlite_stores`; `--synchronous NORMAL` takes the disk out of it.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from benchmarks.measure import Row, paired, table
from catga_core import CatgaOptions, Event, add_catga
from catga_core.identifiers import new_id
from catga_core.interfaces import NO_STREAM, EventLog, EventRecord, EventStore, StreamAppend
from catga_sqlite import SqliteOptions, add_sqlite_catga

AT_ONCE = 64
LONG = 100_000
PAGE = 1_000


class Paid(Event):
    order_id: str
    amount: int
    customer: str
    note: str


PAID = Paid("order-123456", 4_200, "customer-9876", "thank you for your order")
encode = msgspec.msgpack.Encoder().encode
DATA = encode(PAID)
decode = msgspec.msgpack.Decoder(Paid).decode


def record() -> EventRecord:
    identity = new_id()
    return EventRecord(identity, "Paid", 1, "msgpack", DATA, 1_790_000_000_000_000, identity)


class Raw:
    """A table with what an event needs, as an application writes it by hand; for reading."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA synchronous = {synchronous}")
        self.connection.execute(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, "
            "message_id TEXT NOT NULL, name TEXT NOT NULL, recorded_at INTEGER NOT NULL, correlation_id TEXT, data BLOB, "
            "UNIQUE (stream, version), UNIQUE (stream, message_id))"
        )


class Lean:
    """The least that an application can write by hand: three columns, one INSERT and one commit for each append."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA synchronous = {synchronous}")
        self.connection.execute(
            "CREATE TABLE events (stream TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL, "
            "PRIMARY KEY (stream, version))"
        )

    def append(self, stream: str, version: int, event: Event) -> None:
        # Its own transaction, and its own check of the version: the primary key.
        self.connection.execute("INSERT INTO events VALUES (?, ?, ?)", (stream, version + 1, encode(event)))


class LeanThread:
    """The same in a thread of its own that commits each append, as aiosqlite and executors do."""

    def __init__(self, lean: Lean, loop: asyncio.AbstractEventLoop) -> None:
        self._lean = lean
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[asyncio.Future[None], str, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    async def append(self, stream: str, version: int) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((future, stream, version))
        await future

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (asked := self._queue.get()) is not None:
            future, stream, version = asked
            self._lean.append(stream, version, PAID)
            self._loop.call_soon_threadsafe(future.set_result, None)


class Names:
    """A new stream for each slice and caller."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self) -> str:
        self._number += 1
        return f"order-{self._number}"


async def _slice(
    callers: int, count: int, append: Callable[[str, int], Awaitable[object]], names: Names
) -> float:
    async def caller(stream: str) -> None:
        for version in range(count // callers):
            await append(stream, version)

    streams = [names() for _ in range(callers)]
    start = time.perf_counter()
    await asyncio.gather(*(caller(stream) for stream in streams))
    return time.perf_counter() - start


async def _appends(store: EventStore, lean: Lean, rounds: int) -> list[Row]:
    names = Names()

    async def ours(stream: str, version: int) -> None:
        await store.append(stream, PAID, expected_version=version)

    async def by_hand() -> float:
        stream = names()
        start = time.perf_counter()
        for version in range(200):
            lean.append(stream, version, PAID)
        return time.perf_counter() - start

    ratio, our, limit = await paired(lambda: _slice(1, 200, ours, names), by_hand, rounds=rounds)
    title = "append, one caller / sqlite3 and a lean table on the loop's thread"
    rows = [Row(title, ratio, 200 / our, 200 / limit, "events/s", ">= 0.6")]
    thread = LeanThread(lean, asyncio.get_running_loop())
    ratio, our, limit = await paired(
        lambda: _slice(1, 200, ours, names), lambda: _slice(1, 200, thread.append, names), rounds=rounds
    )
    # What is left when both pay for waking a thread and being woken by it.
    title = "append, one caller / a thread that commits each to a lean table"
    rows.append(Row(title, ratio, 200 / our, 200 / limit, "events/s"))
    count = AT_ONCE * 20
    ratio, our, limit = await paired(
        lambda: _slice(AT_ONCE, count, ours, names),
        lambda: _slice(AT_ONCE, count, thread.append, names),
        rounds=rounds,
    )
    thread.stop()
    title = f"append, {AT_ONCE} callers / a thread that commits each to a lean table"
    rows.append(Row(title, ratio, count / our, count / limit, "events/s", ">= 10"))
    return rows


async def _filled(log: EventLog, raw: Raw) -> tuple[int, int]:
    """Put as many events into both; return the positions before the first of them."""
    before = await log.head()
    (raw_before,) = raw.connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    for page in range(LONG // PAGE):
        for number in range(PAGE // 100):
            stream = f"long-{page}-{number}"
            events = [record() for _ in range(100)]
            await log.append([StreamAppend(stream, NO_STREAM, events)])
            raw.connection.executemany(
                "INSERT INTO events (stream, version, message_id, name, recorded_at, correlation_id, data) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        stream,
                        version,
                        each.message_id,
                        each.name,
                        each.recorded_at,
                        each.correlation_id,
                        each.data,
                    )
                    for version, each in enumerate(events, 1)
                ],
            )
    return before, raw_before


async def _reads(log: EventLog, raw: Raw, rounds: int) -> list[Row]:
    before, raw_before = await _filled(log, raw)

    async def all_of_ours() -> float:
        start = time.perf_counter()
        after, count = before, 0
        while events := await log.read_all(after=after, limit=PAGE):
            for event in events:
                decode(event.record.data)
            after = events[-1].position
            count += len(events)
        assert count == LONG
        return time.perf_counter() - start

    async def all_by_hand() -> float:
        start = time.perf_counter()
        after, count = raw_before, 0
        query = (
            "SELECT position, stream, version, message_id, name, recorded_at, correlation_id, data FROM events "
            "WHERE position > ? ORDER BY position LIMIT ?"
        )
        while rows := raw.connection.execute(query, (after, PAGE)).fetchall():
            for row in rows:
                decode(row[7])
            after = rows[-1][0]
            count += len(rows)
        assert count == LONG
        return time.perf_counter() - start

    ratio, our, limit = await paired(all_of_ours, all_by_hand, rounds=max(3, rounds // 3))
    rows = [
        Row(
            f"read {LONG:,} by position / SELECT and decode",
            ratio,
            LONG / our,
            LONG / limit,
            "events/s",
            ">= 0.5",
        )
    ]

    async def stream_of_ours() -> float:
        start = time.perf_counter()
        for number in range(50):
            total = 0
            for event in await log.read_stream(
                f"long-{number}-3", from_version=1, to_version=None, limit=PAGE, backward=False
            ):
                total += decode(event.record.data).amount
        return (time.perf_counter() - start) / 50

    async def stream_by_hand() -> float:
        query = (
            "SELECT position, version, message_id, name, recorded_at, correlation_id, data FROM events WHERE stream = ? "
            "ORDER BY version"
        )
        start = time.perf_counter()
        for number in range(50):
            total = 0
            for row in raw.connection.execute(query, (f"long-{number}-3",)).fetchall():
                total += decode(row[6]).amount
        return (time.perf_counter() - start) / 50

    ratio, our, limit = await paired(stream_of_ours, stream_by_hand, rounds=rounds)
    title = "fold a stream of 100 / SELECT and fold (as time)"
    rows.append(Row(title, 1 / ratio, our * 1e6, limit * 1e6, "us", "<= 3"))
    return rows


async def _peer(store: EventStore, folder: Path, rounds: int) -> list[Row]:
    try:
        from benchmarks.sqlite_eventsourcing import appending
    except ImportError:
        return []
    names = Names()

    async def ours(stream: str, version: int) -> None:
        await store.append(f"peer-{stream}", PAID, expected_version=version)

    with appending(folder / "peer.db", DATA) as theirs:
        count = AT_ONCE * 10

        async def by_peer() -> float:
            return await asyncio.to_thread(theirs, AT_ONCE, count // AT_ONCE)

        ratio, our, limit = await paired(lambda: _slice(AT_ONCE, count, ours, names), by_peer, rounds=rounds)
    title = f"append, {AT_ONCE} callers / eventsourcing's SQLite recorder"
    return [Row(title, ratio, count / our, count / limit, "events/s", ">= 10")]


async def measure(rounds: int, synchronous: str) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="catga-bench-") as name:
        folder = Path(name)
        catga = add_catga(CatgaOptions(service_name="bench"))
        add_sqlite_catga(catga, SqliteOptions(folder / "app.db", synchronous=synchronous))  # type: ignore[arg-type]  # checked by the options
        raw, lean = Raw(folder / "raw.db", synchronous), Lean(folder / "lean.db", synchronous)
        try:
            async with catga.running() as app:
                rows = await _appends(app.event_store, lean, rounds)
                if synchronous == "FULL":
                    rows += await _peer(app.event_store, folder, rounds)
                rows += await _reads(app.get(EventLog), raw, rounds)
        finally:
            raw.connection.close()
            lean.connection.close()
        return rows


def run(rounds: int = 11, synchronous: str = "FULL") -> list[Row]:
    """Return the rows of the table."""
    return asyncio.run(measure(rounds, synchronous))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sqlite_stores", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--synchronous", default="FULL", choices=["OFF", "NORMAL", "FULL", "EXTRA"])
    arguments = parser.parse_args()
    print(table(run(arguments.rounds, arguments.synchronous)))
