"""What is told of events only once, their kind, is there whenever an event of it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from catga_core import SystemClock
from catga_core.interfaces import ANY, EventLog, EventRecord, StreamAppend
from catga_core.unit_of_work import connection_of
from catga_sqlite import SqliteConnection, SqliteOptions, sqlite_stores
from catga_sqlite.engine import kinds


def of(name: str, number: int) -> EventRecord:
    return EventRecord(f"{name}-{number}", name, 1, "msgpack", b"\x80", 1_790_000_000_000_000)


async def test_kinds_that_are_written_while_others_read_for_the_first_time_are_all_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "_read", {})
    stores = sqlite_stores(SqliteOptions(tmp_path / "app.db", synchronous="OFF", readers=4), SystemClock())
    await stores.storage.start()
    log = stores[EventLog]
    assert log is not None
    wanted = 300

    async def write() -> None:
        for number in range(wanted):
            await log.append([StreamAppend("all", ANY, [of(f"kind-{number}", number)])])

    async def follow() -> list[str]:
        seen: list[str] = []
        while len(seen) < wanted:
            seen += [each.record.name for each in await log.read_all(after=len(seen), limit=10)]
        return seen

    try:
        _, *read = await asyncio.gather(write(), *(follow() for _ in range(4)))
    finally:
        await stores.storage.stop()

    assert read == [[f"kind-{number}" for number in range(wanted)]] * 4


async def test_a_kind_is_kept_once_whatever_order_its_first_events_come_in(tmp_path: Path) -> None:
    options = SqliteOptions(tmp_path / "app.db")
    two = [sqlite_stores(options, SystemClock()) for _ in range(2)]
    for stores in two:
        await stores.storage.start()

    for number, stores in enumerate(two):
        await stores[EventLog].append([StreamAppend("all", ANY, [of("one", number)])])
        async with stores.storage.unit_of_work() as uow:
            [(count,)] = await connection_of(uow, SqliteConnection).fetch_all(
                "SELECT count(*) FROM catga_event_kinds"
            )
        assert count == 1

    for stores in two:
        await stores.storage.stop()


def test_the_number_of_a_kind_never_changes() -> None:
    # It is in files: another number would hide every event that was stored before.
    assert kinds.number_of(("orders.placed", 1, "msgpack")) == NUMBER
    assert kinds.number_of(("orders.placed", 2, "msgpack")) != NUMBER


NUMBER = 754451731206969432
