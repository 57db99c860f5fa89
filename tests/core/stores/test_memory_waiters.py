"""Who waits in the in-memory stores leaves nothing behind, however the wait ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from catga_core.interfaces import (
    Claimed,
    EventLog,
    IdempotencyStore,
    LockProvider,
    OutboxStore,
    QueueStore,
    SagaStore,
    Stores,
)
from catga_core.memory.stores import MemoryStorage
from catga_core.runtime.waiter import _end
from catga_testing.contracts.stores.records import appends, message, queued
from catga_testing.contracts.stores.sagas.base import DONE, KIND, begun, paused
from catga_testing.waiting import eventually
from tests.core.stores.inside import waiters_of, waiting_in


class Waiting(msgspec.Struct, frozen=True):
    """One thing to wait for.

    Parameters:
        wait: waits, for so many seconds.
        end: has it come.
    """

    wait: Callable[[float], Awaitable[object]]
    end: Callable[[], Awaitable[object]]


async def for_an_event(stores: Stores) -> Waiting:
    log = stores[EventLog]
    assert log is not None
    return Waiting(lambda timeout: log.wait(after=0, timeout=timeout), lambda: log.append([appends("s")]))


async def for_a_message(stores: Stores) -> Waiting:
    outbox = stores[OutboxStore]
    assert outbox is not None
    return Waiting(lambda timeout: outbox.wait(timeout=timeout), lambda: outbox.add([message()]))


async def for_a_message_that_is_leased(stores: Stores) -> Waiting:
    outbox = stores[OutboxStore]
    assert outbox is not None
    await outbox.add([message()])
    leased = await outbox.lease(limit=1, lease=3600)
    return Waiting(lambda timeout: outbox.wait(timeout=timeout), lambda: outbox.release(leased))


async def for_a_result(stores: Stores) -> Waiting:
    idempotency = stores[IdempotencyStore]
    assert idempotency is not None
    claim = await idempotency.claim("k", lease=3600)
    assert isinstance(claim, Claimed)
    return Waiting(
        lambda timeout: idempotency.wait("k", timeout=timeout),
        lambda: idempotency.complete(claim, b"done", ttl=60),
    )


async def for_a_lock(stores: Stores) -> Waiting:
    locks = stores[LockProvider]
    assert locks is not None
    held = await locks.acquire("l", lease=3600)
    assert held is not None
    return Waiting(lambda timeout: locks.wait("l", timeout=timeout), lambda: locks.release(held))


async def for_a_queued_message(stores: Stores) -> Waiting:
    queue = stores[QueueStore]
    return Waiting(
        lambda timeout: queue.wait(["q"], timeout=timeout), lambda: queue.add(queued(), queues=["q"])
    )


async def for_a_saga(stores: Stores) -> Waiting:
    sagas = stores[SagaStore]
    return Waiting(
        lambda timeout: sagas.wait([KIND], timeout=timeout), lambda: paused(sagas, "o-1", due_at=1.0)
    )


async def for_the_end_of_a_saga(stores: Stores) -> Waiting:
    sagas = stores[SagaStore]
    claim = await begun(sagas, "o-1")
    return Waiting(
        lambda timeout: sagas.wait_final("o-1", timeout=timeout),
        lambda: sagas.release(claim, [], after=0, pause=DONE),
    )


EVERY = [
    for_an_event,
    for_a_message,
    for_a_message_that_is_leased,
    for_a_result,
    for_a_lock,
    for_a_queued_message,
    for_a_saga,
    for_the_end_of_a_saga,
]
every = pytest.mark.parametrize("make", EVERY, ids=lambda make: make.__name__)
Make = Callable[[Stores], Awaitable[Waiting]]


async def nothing_is_left(storage: MemoryStorage) -> None:
    """Fail where a waiter, a timer of one or a task of one is still there."""
    assert [each._expected for each in waiters_of(storage)] == [{}] * 6
    assert asyncio.all_tasks() == {asyncio.current_task()}
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]  # nothing else tells of timers
    assert [each for each in timers if each._callback is _end and not each.cancelled()] == []


@every
async def test_who_is_woken(stores: Stores, storage: MemoryStorage, make: Make) -> None:
    waiting = await make(stores)
    tasks = [asyncio.ensure_future(waiting.wait(60)) for _ in range(3)]
    await eventually(lambda: waiting_in(storage) == 3)

    await waiting.end()
    await asyncio.gather(*tasks)

    await nothing_is_left(storage)


@every
async def test_who_is_cancelled(stores: Stores, storage: MemoryStorage, make: Make) -> None:
    waiting = await make(stores)
    tasks = [asyncio.ensure_future(waiting.wait(60)) for _ in range(3)]
    await eventually(lambda: waiting_in(storage) == 3)

    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert waiting_in(storage) == 2
    await waiting.end()
    await asyncio.gather(tasks[0], tasks[2])

    assert tasks[1].cancelled()
    await nothing_is_left(storage)


@every
async def test_who_is_cancelled_in_the_moment_in_which_it_is_woken(
    stores: Stores, storage: MemoryStorage, make: Make
) -> None:
    waiting = await make(stores)
    task = asyncio.ensure_future(waiting.wait(60))
    await eventually(lambda: waiting_in(storage) == 1)

    await waiting.end()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    await nothing_is_left(storage)


@every
async def test_who_has_waited_long_enough(stores: Stores, storage: MemoryStorage, make: Make) -> None:
    waiting = await make(stores)

    await waiting.wait(0.01)

    await nothing_is_left(storage)


async def test_a_commit_wakes_and_a_rollback_does_not(stores: Stores, storage: MemoryStorage) -> None:
    waiting = await for_an_event(stores)
    task = asyncio.ensure_future(waiting.wait(60))
    await eventually(lambda: waiting_in(storage) == 1)

    with pytest.raises(ZeroDivisionError):
        async with stores.storage.unit_of_work():
            await waiting.end()
            raise ZeroDivisionError
    await asyncio.sleep(0)
    assert (waiting_in(storage), task.done()) == (1, False)

    async with stores.storage.unit_of_work():
        await waiting.end()
        await asyncio.sleep(0)
        assert not task.done(), "it is not there before the commit"
    await task
    await nothing_is_left(storage)
