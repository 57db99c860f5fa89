"""Several sets of in-memory stores over one storage, and locks, which no unit of work has a part in."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from catga_core.interfaces import (
    CheckpointStore,
    Claimed,
    EventLog,
    HealthStatus,
    IdempotencyStore,
    InProgress,
    LockProvider,
    Stores,
)
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_testing import ManualClock
from catga_testing.contracts.stores.place import outside
from catga_testing.contracts.stores.records import appends, record
from catga_testing.contracts.stores.unit_of_work.writes import prepared_write, writes_of
from catga_testing.waiting import eventually
from tests.core.stores.inside import rows_of, waiting_in

WRITES = writes_of(MEMORY_PORTS)


@pytest.fixture
def other(clock: ManualClock, storage: MemoryStorage) -> Stores:
    return memory_stores(clock, storage)


@pytest.mark.parametrize("kind", sorted(WRITES))
async def test_what_one_set_of_stores_writes_another_one_reads(
    stores: Stores, other: Stores, kind: str
) -> None:
    write = await prepared_write(kind, stores)
    assert not await write.there(other)

    await write.done()

    assert await write.there(other)


async def test_stores_over_storages_of_their_own_share_nothing(stores: Stores) -> None:
    elsewhere = memory_stores()

    await stores[EventLog].append([appends("s")])

    assert await elsewhere[EventLog].head() == 0
    assert memory_stores().storage is not memory_stores().storage


async def test_a_unit_of_work_of_one_set_is_joined_by_the_stores_of_the_other(
    stores: Stores, other: Stores
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            await stores[EventLog].append([appends("s")])
            await other[CheckpointStore].save("c", 7)
            raise ZeroDivisionError

    assert await other[CheckpointStore].load("c") is None
    assert await stores[EventLog].head() == 0


async def test_a_write_of_one_set_wakes_who_waits_in_the_other(
    stores: Stores, other: Stores, storage: MemoryStorage
) -> None:
    waiting = asyncio.create_task(other[EventLog].wait(after=0, timeout=60))
    await eventually(lambda: waiting_in(storage) == 1)

    await stores[EventLog].append([appends("s")])

    await asyncio.wait_for(waiting, 5)


async def test_claims_and_locks_are_one_sets_and_their_numbers_rise_over_all(
    stores: Stores, other: Stores
) -> None:
    claim = await stores[IdempotencyStore].claim("k", lease=60)
    refused = await other[IdempotencyStore].claim("k", lease=60)
    lock = await other[LockProvider].acquire("l", lease=60)

    assert isinstance(claim, Claimed)
    assert isinstance(refused, InProgress)
    assert lock is not None
    assert await stores[LockProvider].acquire("l", lease=60) is None
    assert claim.fencing_token < lock.fencing_token


async def test_a_set_that_was_stopped_leaves_everything_to_the_next(
    stores: Stores, storage: MemoryStorage
) -> None:
    await stores.storage.start()
    await stores[EventLog].append([appends("s", record("m-1"))])
    before = rows_of(storage)
    await stores.storage.stop()

    await storage.start()

    assert rows_of(storage) == before
    assert storage.health().status is HealthStatus.HEALTHY


def test_a_storage_goes_on_in_another_event_loop() -> None:
    storage = MemoryStorage()

    async def contend() -> int:
        """Have somebody wait for the turn to write: that ties what it waits for to the loop."""
        stores = memory_stores(storage=storage)
        await stores.storage.start()
        log = stores[EventLog]
        assert log is not None
        async with stores.storage.unit_of_work():
            await log.append([appends("s")])
            after = asyncio.create_task(outside(partial(log.append, [appends("s")])))
            await eventually(lambda: len(storage._lock._waiters or ()) == 1)
        await after
        await stores.storage.stop()
        return await log.head()

    assert [asyncio.run(contend()) for _ in range(2)] == [2, 4]


async def test_a_lock_that_is_taken_in_a_block_is_held_at_once_and_after_a_rollback(
    stores: Stores, other: Stores
) -> None:
    locks, others = stores[LockProvider], other[LockProvider]
    assert locks is not None
    assert others is not None
    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            held = await locks.acquire("l", lease=60)
            assert await outside(lambda: others.acquire("l", lease=60)) is None
            raise ZeroDivisionError

    assert held is not None
    assert await others.acquire("l", lease=60) is None
    assert await locks.release(held)


async def test_a_lock_that_is_given_back_in_a_block_is_free_before_its_end(
    stores: Stores, other: Stores
) -> None:
    locks, others = stores[LockProvider], other[LockProvider]
    assert locks is not None
    assert others is not None
    held = await locks.acquire("l", lease=60)
    assert held is not None
    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            assert await locks.release(held)
            taken = await outside(lambda: others.acquire("l", lease=60))
            raise ZeroDivisionError

    assert taken is not None
    assert taken.fencing_token > held.fencing_token
    assert await others.release(taken)


async def test_a_lock_waits_for_no_unit_of_work_that_has_the_storage(stores: Stores, other: Stores) -> None:
    locks = other[LockProvider]
    assert locks is not None
    async with stores.storage.unit_of_work():
        await stores[EventLog].append([appends("s")])
        held = await outside(lambda: locks.acquire("l", lease=60))
        assert held is not None
        renewed = await outside(lambda: locks.renew(held, lease=90))
        assert await outside(lambda: locks.release(renewed))
