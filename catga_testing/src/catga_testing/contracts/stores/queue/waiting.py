"""What wakes those who wait for messages of queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from catga_core.interfaces import QueueStore, Stores
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.place import StoreTime, outside, turns
from catga_testing.contracts.stores.queue.base import (
    AMPLE,
    QUEUE,
    QueueContractBase,
    TwoQueues,
    filled,
    lease,
    names,
)
from catga_testing.contracts.stores.records import queued


class QueueWaitingContract(QueueContractBase):
    """Whatever makes a message due ends the wait."""

    @pytest.mark.parametrize("joined", [False, True])
    async def test_adding_to_a_queue_wakes_who_waits_for_it(
        self, stores: Stores, queue: QueueStore, joined: bool
    ) -> None:
        """And so does the commit of a unit of work."""
        async with _woken(queue, "m-1"):
            if joined:
                async with stores.storage.unit_of_work():
                    await queue.add(queued("m-1"), queues=["other", QUEUE])
            else:
                await queue.add(queued("m-1"), queues=["other", QUEUE])

    async def test_nobody_waits_where_a_message_of_the_queue_is_due(self, queue_stores: TwoQueues) -> None:
        """It may be there since before."""
        await queue_stores[0].add(queued(), queues=[QUEUE])

        async with asyncio.timeout(SOON):
            await queue_stores[1].wait(["other", QUEUE], timeout=PATIENCE)

    async def test_a_message_of_another_queue_is_not_waited_for(self, queue: QueueStore) -> None:
        """Nor one that is leased, of a held key, or behind another of its key."""
        await queue.add(queued(), queues=["other"])
        await filled(queue, "a-1", "a-2", "b-1", "b-2")
        leased, poison = await lease(queue)
        await queue.discard(poison, hold_key=True)

        async with _woken(queue, "a-2"):
            await queue.complete([leased])

    async def test_a_scheduled_time_wakes_who_waits(self, queue: QueueStore, time: StoreTime) -> None:
        """Also the time of one that is added meanwhile and comes first."""
        now = time.clock.time()
        await queue.add(queued("late", due_at=now + AMPLE), queues=[QUEUE])
        waiting = asyncio.create_task(_first_leased(queue))
        await turns(20)
        await asyncio.sleep(0.05)
        await queue.add(queued("soon", due_at=now + time.lease), queues=[QUEUE])

        assert await _leased_in_time(time, waiting) == ["soon"]

    async def test_the_time_of_a_retry_wakes_who_waits(self, queue: QueueStore, time: StoreTime) -> None:
        """It is known to those who waited before it was given back."""
        await filled(queue, "a-1", "a-2")
        [leased] = await lease(queue)
        waiting = asyncio.create_task(_first_leased(queue))
        await turns(20)
        await asyncio.sleep(0.05)
        await queue.retry(leased, delay=time.lease, error="refused")

        assert await _leased_in_time(time, waiting) == ["a-1"]

    async def test_the_end_of_a_lease_wakes_who_waits(self, queue: QueueStore, time: StoreTime) -> None:
        """Whoever had it is dead."""
        await filled(queue, "a-1", "a-2")
        await lease(queue, lease=time.lease)
        waiting = asyncio.create_task(_first_leased(queue))

        assert await _leased_in_time(time, waiting) == ["a-1"]

    @pytest.mark.parametrize("act", ["complete", "discard", "retry", "release", "cancel", "release_key"])
    async def test_what_lets_a_message_of_a_key_go_on_wakes_who_waits(
        self, queue: QueueStore, act: str
    ) -> None:
        """The message itself, or the next one of its key."""
        await filled(queue, "a-1", "a-2")
        [leased] = await lease(queue, lease=AMPLE)
        if act == "release_key":
            await queue.discard(leased, hold_key=True)
        elif act == "cancel":
            await queue.retry(leased, delay=AMPLE, error="refused")

        async with _woken(queue, "a-1" if act in {"retry", "release"} else "a-2"):
            if act == "complete":
                await queue.complete([leased])
            elif act == "discard":
                await queue.discard(leased)
            elif act == "retry":
                await queue.retry(leased, delay=0.0, error="refused")
            elif act == "release":
                await queue.release([leased])
            elif act == "cancel":
                assert await queue.cancel(QUEUE, "a-1")
            else:
                assert await queue.release_key(QUEUE, "a")

    async def test_a_unit_of_work_that_is_undone_leaves_what_is_due_to_be_waited_for(
        self, stores: Stores, queue: QueueStore, time: StoreTime
    ) -> None:
        """Also for those who began to wait while it had ended the message."""
        await filled(queue, "a-1", "a-2")
        leased = await lease(queue, lease=time.lease)
        waiting: list[asyncio.Task[None]] = []
        with pytest.raises(ZeroDivisionError):
            async with stores.storage.unit_of_work():
                await queue.complete(leased)
                wait = outside(lambda: queue.wait([QUEUE], timeout=PATIENCE))
                waiting.append(asyncio.create_task(wait))
                await turns(20)
                raise ZeroDivisionError

        await time.passes(1.0)
        async with asyncio.timeout(SOON):
            await waiting[0]
        assert names(await lease(queue)) == ["a-1"]

    async def test_who_waits_for_a_queue_in_a_loop_lets_others_work(self, queue: QueueStore) -> None:
        """Those who would handle what it waits for, above all."""
        await queue.add(queued(), queues=[QUEUE])

        async def handle() -> None:
            await queue.complete(await lease(queue))

        handling = asyncio.create_task(handle())
        for _ in range(1000):
            if handling.done():
                break
            await queue.wait([QUEUE], timeout=0.01)

        assert handling.done()
        await handling

    async def test_waiting_for_a_queue_ends_when_its_time_is_over(self, queue: QueueStore) -> None:
        """Or when it is cancelled, which harms nobody."""
        async with asyncio.timeout(SOON):
            await queue.wait([QUEUE], timeout=0.05)
            await queue.wait([], timeout=0.01)
        waiting = [asyncio.create_task(queue.wait([QUEUE], timeout=PATIENCE)) for _ in range(2)]
        await turns(10)
        waiting[0].cancel()
        await turns(2)

        await queue.add(queued(), queues=[QUEUE])

        async with asyncio.timeout(SOON):
            await waiting[1]
        assert waiting[0].cancelled()


async def _first_leased(queue: QueueStore) -> list[str]:
    """Wait until something can be leased; a wait may end before that."""
    while not (found := names(await lease(queue))):
        await queue.wait([QUEUE], timeout=PATIENCE)
    return found


async def _leased_in_time(time: StoreTime, waiting: asyncio.Task[list[str]]) -> list[str]:
    """Return what is leased a lease's time from now, and not before."""
    await turns(20)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await time.passes(1.0)
    async with asyncio.timeout(SOON):
        return await waiting


@asynccontextmanager
async def _woken(queue: QueueStore, *expected: str) -> AsyncGenerator[None, None]:
    """Have a task wait, and see that what is done in the block, and nothing before, wakes it to lease these messages."""
    waiting = asyncio.create_task(_first_leased(queue))
    await turns(10)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    yield
    async with asyncio.timeout(SOON):
        assert await waiting == list(expected)
