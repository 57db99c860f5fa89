"""What a unit of work in memory shows to others, what it leaves, and whose turn it is. The rest is in the contracts."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.errors import Outcome
from catga_core.interfaces import ANY, DeadLetterStore, EventLog, OutboxStore, SnapshotStore, Stores
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_testing.contracts.stores.place import outside
from catga_testing.contracts.stores.records import appends, letter, message, record, snapshot
from catga_testing.contracts.stores.unit_of_work.writes import Write, writes_of
from catga_testing.waiting import eventually
from tests.core.stores.inside import rows_of
from tests.core.support import Gate

WRITES = writes_of(MEMORY_PORTS)


def log_of(stores: Stores) -> EventLog:
    return stores[EventLog]


async def seen(log: EventLog) -> dict[str, Any]:
    """Return all that a reader can ask the log."""

    async def stream(name: str, **asked: Any) -> list[int]:
        default = {"from_version": 1, "to_version": None, "limit": 10, "backward": False}
        return [each.version for each in await log.read_stream(name, **{**default, **asked})]

    return {
        "head": await log.head(),
        "all": [each.position for each in await log.read_all(after=0, limit=10)],
        "versions": [await log.version(name) for name in ("old", "new")],
        "old": await stream("old"),
        "backward": await stream("old", backward=True, limit=2),
        "up to": await stream("old", to_version=3),
        "from": await stream("old", from_version=3),
        "new": await stream("new"),
    }


async def test_who_is_outside_reads_the_log_up_to_what_is_committed(stores: Stores) -> None:
    log = log_of(stores)
    await log.append([appends("old", record(), record())])
    committed = await seen(log)

    async with stores.storage.unit_of_work():
        # Events of two streams in turns, so that where a stream's committed ones end has to be looked for.
        await log.append([appends("old", record())])
        await log.append([appends("new", record())])
        await log.append([appends("old", record())])
        inside = await seen(log)
        meanwhile = await outside(lambda: seen(log))

    assert meanwhile == committed
    assert committed == {
        "head": 2, "all": [1, 2], "versions": [2, 0],
        "old": [1, 2], "backward": [2, 1], "up to": [1, 2], "from": [], "new": [],
    }  # fmt: skip
    assert inside == {
        "head": 5, "all": [1, 2, 3, 4, 5], "versions": [4, 1],
        "old": [1, 2, 3, 4], "backward": [4, 3], "up to": [1, 2, 3], "from": [3, 4], "new": [1],
    }  # fmt: skip
    assert await outside(lambda: seen(log)) == inside


async def test_a_rollback_leaves_every_table_as_it_was(stores: Stores, storage: MemoryStorage) -> None:
    writes: list[Write] = [await prepare(stores) for prepare in WRITES.values()]
    await log_of(stores).append([appends("kit-a")])
    outbox = stores[OutboxStore]
    assert outbox is not None
    await outbox.add([message()])
    sent = await outbox.lease(limit=1, lease=60)
    before = rows_of(storage)

    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            for write in writes:
                await write.done()
            await outbox.complete(sent)
            changed = rows_of(storage)
            raise ZeroDivisionError

    assert rows_of(storage) == before
    untouched = {name for name, rows in before.items() if changed[name] == rows and name.endswith("overlay")}
    assert untouched == set(), "every table was written to, or this test shows nothing"


async def test_a_commit_leaves_nothing_laid_over_the_tables(stores: Stores, storage: MemoryStorage) -> None:
    writes = [await prepare(stores) for prepare in WRITES.values()]

    async with stores.storage.unit_of_work():
        for write in writes:
            await write.done()

    left = {name: rows for name, rows in rows_of(storage).items() if name.endswith("overlay")}
    assert set(map(len, left.values())) == {0}
    assert (storage.writer, storage._lock.locked()) == (None, False)


async def test_what_was_added_changed_and_removed_in_one_block_is_as_it_was_left(stores: Stores) -> None:
    snapshots, letters = stores[SnapshotStore], stores[DeadLetterStore]
    assert snapshots is not None
    assert letters is not None
    await letters.add(letter("first"))

    async with stores.storage.unit_of_work():
        await letters.add(letter("second"))
        await letters.remove("first")
        await letters.remove("second")
        await letters.add(letter("third"))
        await letters.add(letter("third"))
        await snapshots.save(snapshot("s", 1))
        await snapshots.delete("s")
        assert await letters.count() == 1

    (kept,) = (await letters.find()).letters
    assert (kept.id, kept.attempts) == ("third", 2)
    assert await snapshots.load("s", "Order", schema_version=1) is None


async def test_what_was_rolled_back_may_be_appended_again_and_leaves_no_gap(stores: Stores) -> None:
    log = log_of(stores)
    again = appends("s", record("m-1"), record("m-2"))
    await log.append([appends("s", record("m-0"))])

    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            await log.append([again])
            raise ZeroDivisionError
    (done,) = await log.append([again])

    assert (done.version, done.position) == (3, 3)
    assert [each.record.message_id for each in await log.read_all(after=0, limit=9)] == ["m-0", "m-1", "m-2"]


async def test_who_waits_too_long_for_the_turn_to_write_is_told_what_holds_it_up() -> None:
    stores = memory_stores(storage=MemoryStorage(patience=0.05))
    log = log_of(stores)

    async with stores.storage.unit_of_work():
        await log.append([appends("s", record("held"))])
        with pytest.raises(CatgaError) as caught:
            await outside(lambda: log.append([appends("s", record("late"))]))

    assert (caught.value.code, caught.value.retryable) == (ErrorCode.PERSISTENCE_FAILED, True)
    assert caught.value.outcome is Outcome.NOT_WRITTEN
    assert "Timed out after 0.05 s" in caught.value.message
    # The time that ran out is how it was noticed, and no cause of its own.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert [each.record.message_id for each in await log.read_all(after=0, limit=9)] == ["held"]


async def test_a_block_that_awaits_one_who_waits_for_it_fails_as_a_whole_and_holds_up_nobody() -> None:
    storage = MemoryStorage(patience=0.05)
    stores = memory_stores(storage=storage)
    log = log_of(stores)

    with pytest.raises(CatgaError, match="await nothing in one that itself waits for the storage"):
        async with stores.storage.unit_of_work():
            await log.append([appends("s")])
            await outside(lambda: log.append([appends("s")]))

    assert rows_of(storage)["turn"] is False
    assert await log.append([appends("s")])
    assert await log.head() == 1


async def test_the_turn_to_write_is_given_in_the_order_in_which_it_was_asked_for(stores: Stores) -> None:
    log = log_of(stores)
    gate = Gate()

    async def block(name: str) -> None:
        async with stores.storage.unit_of_work():
            await log.append([appends("s", record(name))])
            await gate.pass_through()

    async def single(name: str) -> None:
        await log.append([appends("s", record(name))])

    first = asyncio.create_task(block("0"))
    await gate.reached()
    others = [asyncio.create_task((block if number % 2 else single)(str(number))) for number in range(1, 6)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, *others)

    assert [each.record.message_id for each in await log.read_all(after=0, limit=9)] == list("012345")


async def test_a_block_that_only_reads_waits_for_nobody_and_holds_up_nobody(
    stores: Stores, storage: MemoryStorage
) -> None:
    log = log_of(stores)
    gate = Gate()

    async def read() -> int:
        async with stores.storage.unit_of_work():
            await gate.pass_through()
            return await log.head()

    async with stores.storage.unit_of_work():
        await log.append([appends("s")])
        reading = asyncio.create_task(read(), context=Context())
        await gate.reached()
    await log.append([appends("s")])
    gate.open()

    assert await reading == 2
    assert not storage._lock.locked()


async def test_two_tasks_of_one_block_that_write_first_at_once_take_the_turn_once(
    stores: Stores, storage: MemoryStorage
) -> None:
    log = log_of(stores)
    gate = Gate()

    async def hold() -> None:
        async with stores.storage.unit_of_work():
            await log.append([appends("held")])
            await gate.pass_through()

    async def both() -> None:
        async with stores.storage.unit_of_work():
            await asyncio.gather(log.append([appends("a")]), log.append([appends("b")]))

    holding = asyncio.create_task(hold())
    await gate.reached()
    writing = asyncio.create_task(both())
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(holding, writing)

    assert await log.head() == 3
    assert not storage._lock.locked()


async def test_who_is_cancelled_while_it_waits_for_the_turn_leaves_it_to_the_next(
    stores: Stores, storage: MemoryStorage
) -> None:
    log = log_of(stores)
    cancelled: list[asyncio.Task[Any]] = []

    async with stores.storage.unit_of_work():
        await log.append([appends("s", record("held"))])
        for name in ("x", "y"):
            one = log.append([appends("s", record(name))])
            cancelled.append(asyncio.create_task(one, context=Context()))
        after = asyncio.create_task(log.append([appends("s", record("after"))]), context=Context())
        await eventually(lambda: len(storage._lock._waiters or ()) == 3)
        for each in cancelled:
            each.cancel()
        await asyncio.wait(cancelled)
        assert len(storage._lock._waiters or ()) == 1
    await after

    assert all(each.cancelled() for each in cancelled)
    assert [each.record.message_id for each in await log.read_all(after=0, limit=9)] == ["held", "after"]
    assert not storage._lock.locked()


async def test_who_was_given_the_turn_when_its_block_was_over_gives_it_back(
    stores: Stores, storage: MemoryStorage
) -> None:
    log = log_of(stores)
    gate = Gate()

    async def hold() -> None:
        async with stores.storage.unit_of_work():
            await log.append([appends("s", record("held"))])
            await gate.pass_through()

    holding = asyncio.create_task(hold())
    await gate.reached()
    async with stores.storage.unit_of_work():
        # Left running: it outlives the block that it joins.
        late = asyncio.create_task(log.append([appends("s", record("late"))]))
        await eventually(lambda: len(storage._lock._waiters or ()) == 1)
    gate.open()
    await holding

    with pytest.raises(CatgaError, match="This unit of work has ended"):
        await late
    assert not storage._lock.locked()
    assert (await log.append([appends("s", expected=ANY)]))[0].position == 2


async def test_what_is_sent_again_after_a_rollback_keeps_its_place_behind_what_was_there(
    stores: Stores,
) -> None:
    outbox = stores[OutboxStore]
    assert outbox is not None
    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            await outbox.add([message("m-1")])
            raise ZeroDivisionError
    await outbox.add([message("m-0")])
    await outbox.add([message("m-1")])

    leased = await outbox.lease(limit=9, lease=60)
    assert [each.message.context.message_id for each in leased] == ["m-0", "m-1"]
