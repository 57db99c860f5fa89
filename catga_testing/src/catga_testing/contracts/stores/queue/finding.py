"""What operators see of queues."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import ALL_QUEUED, QueueFilter, QueueState, QueueStats, QueueStore
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.place import StoreTime
from catga_testing.contracts.stores.queue.base import (
    AMPLE,
    QUEUE,
    QueueContractBase,
    TwoQueues,
    filled,
    lease,
    names,
    scheduled,
)
from catga_testing.contracts.stores.records import queued

FILTERS: list[tuple[QueueFilter, str]] = [
    (ALL_QUEUED, "abcdef"),
    (QueueFilter(queue="first"), "abe"),
    (QueueFilter(queue="First"), ""),
    (QueueFilter(name="kit.Told"), "acdef"),
    (QueueFilter(key="k"), "be"),
    (QueueFilter(key=""), "c"),
    (QueueFilter(queue="first", key="k"), "be"),
    (QueueFilter(queue="second", name="kit.Told", key="k"), ""),
]
"""Filters, and which of the messages of `several` they mean, in the order in which they are found."""


async def several(queue: QueueStore, time: StoreTime) -> None:
    """Add messages that differ, those of the last letters scheduled."""
    now = time.clock.time()
    await queue.add(queued("f", due_at=now + 9 * time.lease), queues=["second"])
    await queue.add(queued("a"), queues=["first"])
    await queue.add(queued("e", key="k", due_at=now + 2 * time.lease), queues=["first"])
    await queue.add(queued("b", key="k", name="kit.Paid"), queues=["first"])
    await queue.add(queued("c", key=""), queues=["second"])
    await queue.add(queued("d"), queues=["second"])


async def found(queue: QueueStore, wanted: QueueFilter, *, limit: int) -> str:
    """Return the ids of all pages."""
    ids: list[str] = []
    after: str | None = None
    async with asyncio.timeout(PATIENCE):
        for _ in range(100):
            page = await queue.find(wanted, after=after, limit=limit)
            assert len(page.entries) <= limit
            ids += [each.message.context.message_id for each in page.entries]
            after = page.next
            if after is None:
                return "".join(ids)
    msg = "a hundred pages, and no last one"
    raise AssertionError(msg)


class QueueFindingContract(QueueContractBase):
    """First those that are ready, in their order, then those that are scheduled, by their time."""

    @pytest.mark.parametrize(("wanted", "ids"), FILTERS, ids=[str(number) for number in range(len(FILTERS))])
    async def test_a_filter_means_the_queued_messages_that_are_all_it_says(
        self, queue: QueueStore, time: StoreTime, wanted: QueueFilter, ids: str
    ) -> None:
        """In pages of any length."""
        await several(queue, time)

        for limit in (1, 2, 3, 6, 100):
            assert await found(queue, wanted, limit=limit) == ids

    async def test_an_entry_tells_what_a_message_waits_for(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Since when, until when, and what has failed; done ones are not found."""
        one, other = queue_stores
        begin = time.clock.time()
        await filled(one, "a-1", "a-2", "h-3", "h-4", "-5", "-6", "-7")
        [later] = await scheduled(one, time, _8=5.0)
        leased, poison, retried, done = await lease(one, 4)
        await one.discard(poison, hold_key=True)
        await one.retry(retried, delay=2 * time.lease, error="refused")
        await one.complete([done])

        page = await other.find(QueueFilter(queue=QUEUE))

        states = {each.message.context.message_id: each for each in page.entries}
        assert [(name, each.state) for name, each in states.items()] == [
            ("a-1", QueueState.LEASED),
            ("a-2", QueueState.READY),
            ("h-4", QueueState.HELD),
            ("-5", QueueState.RETRYING),
            ("-7", QueueState.READY),
            ("-8", QueueState.SCHEDULED),
        ]
        for name, each in states.items():
            assert await other.get(QUEUE, name) == each
            assert (each.queue, each.result) == (QUEUE, None)
        assert [(each.attempts, each.error) for each in states.values()] == [
            (1, None),
            (0, None),
            (0, None),
            (1, "refused"),
            (0, None),
            (0, None),
        ]
        times = [each.due_at - begin for each in states.values()]
        expected = [AMPLE, 0.0, 0.0, 2 * time.lease, 0.0, later.due_at - begin]
        assert all(
            abs(seen - right) <= time.about(right) for seen, right in zip(times, expected, strict=True)
        )
        assert leased.message == states["a-1"].message

    async def test_pages_of_queues_hold_still_while_messages_come_and_go(self, queue: QueueStore) -> None:
        """One that is there all the time is given once."""
        await filled(queue, *(f"-{number}" for number in range(10)))
        first = await queue.find(limit=4)
        for name in ("-0", "-3", "-6"):
            await queue.cancel(QUEUE, name)
        await filled(queue, "-new")

        second = await queue.find(after=first.next, limit=100)

        ids = [each.message.context.message_id for each in second.entries]
        assert ids == ["-4", "-5", "-7", "-8", "-9", "-new"]
        assert second.next is None

    @pytest.mark.parametrize("after", ["nonsense", "", "[1]", "é"])
    async def test_a_page_after_nonsense_is_refused(self, queue: QueueStore, after: str) -> None:
        """It is no `next` of a page."""
        await filled(queue, "-1")

        with pytest.raises(ValueError, match="after"):
            await queue.find(after=after)

    async def test_numbers_of_queues_count_what_is_not_done(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Each queue that has any, leased or not."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "b-1", "-1", "-2")
        await filled(one, "-1", queues=["done"])
        await scheduled(one, time, _8=5.0, _9=50.0)
        await one.complete(await lease(one, of="done"))
        await one.add(queued("s", due_at=time.clock.time() + AMPLE), queues=["later"])
        first, second, third = await lease(one, 3)
        await one.retry(second, delay=AMPLE, error="refused")
        await one.release([third])

        stats = await other.stats()

        oldest = stats[QUEUE].oldest_at
        assert oldest is not None
        assert abs(oldest - time.clock.time()) <= time.about(0)
        assert dict(stats) == {
            QUEUE: QueueStats(ready=5, scheduled=2, leased=1, retrying=1, held_keys=0, oldest_at=oldest),
            "later": QueueStats(ready=0, scheduled=1, leased=0, retrying=0, held_keys=0, oldest_at=None),
        }
        await one.complete([first])
        assert (await other.stats())[QUEUE].ready == 4
        assert names(await lease(one, 1)) == ["a-2"]
