"""Who has a message of a queue, for how long, and in which order messages are given."""

from __future__ import annotations

import asyncio

from catga_core.interfaces import QueueState, QueueStore
from catga_core.messages.delivery import Priority
from catga_testing.clock import ManualClock
from catga_testing.contracts.stores.place import Place, StoresFactory, StoreTime
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


class _SteppingClock(ManualClock):
    """A clock that can be set back."""

    set_back = 0.0

    def time(self) -> float:
        """Return seconds since the Unix epoch."""
        return super().time() - self.set_back


class QueueLeasingContract(QueueContractBase):
    """One consumer has a message at a time, and of one key only the first is given."""

    async def test_a_leased_message_of_a_queue_is_nobody_elses(self, queue_stores: TwoQueues) -> None:
        """As many as asked for, the oldest first."""
        one, other = queue_stores
        await filled(one, "-1", "-2", "-3", "-4", "-5")

        assert names(await lease(one, 2)) == ["-1", "-2"]
        assert names(await lease(other, 2)) == ["-3", "-4"]
        assert names(await lease(one)) == ["-5"]
        assert await lease(other) == []

    async def test_as_many_messages_are_leased_as_each_queue_is_asked_for(self, queue: QueueStore) -> None:
        """Of no other queue any, and of none more."""
        for name in ("first", "second", "third"):
            await filled(queue, *(f"-{name}{number}" for number in range(4)), queues=[name])

        leased = await queue.lease({"third": 1, "first": 3, "unknown": 7}, lease=AMPLE)

        found = [(each.queue, each.message.context.message_id) for each in leased]
        assert sorted(found) == [
            ("first", "-first0"),
            ("first", "-first1"),
            ("first", "-first2"),
            ("third", "-third0"),
        ]
        assert await queue.lease({"second": 0}, lease=AMPLE) == []
        assert len(await lease(queue, of="second")) == 4

    async def test_messages_of_a_queue_are_given_by_priority_and_place(self, queue: QueueStore) -> None:
        """Those of one priority in their order."""
        for number, priority in enumerate(
            [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.LOW, Priority.HIGH, Priority.NORMAL]
        ):
            await queue.add(queued(f"{priority.name}-{number}", priority=priority), queues=[QUEUE])

        assert names(await lease(queue, 3)) == ["HIGH-2", "HIGH-4", "NORMAL-1"]
        await queue.add(queued("HIGH-6", priority=Priority.HIGH), queues=[QUEUE])
        assert names(await lease(queue)) == ["HIGH-6", "NORMAL-5", "LOW-0", "LOW-3"]

    async def test_no_priority_changes_the_order_of_a_key(self, queue: QueueStore) -> None:
        """A high one waits for the low one before it."""
        await queue.add(queued("a-1", key="a", priority=Priority.LOW), queues=[QUEUE])
        await queue.add(queued("a-2", key="a", priority=Priority.HIGH), queues=[QUEUE])
        await queue.add(queued("b-1", key="b"), queues=[QUEUE])

        found: list[str] = []
        while leased := await lease(queue, 1):
            found += names(leased)
            await queue.complete(leased)

        assert found == ["b-1", "a-1", "a-2"]

    async def test_of_many_who_lease_from_a_queue_at_once_each_gets_its_own(
        self, queue_stores: TwoQueues
    ) -> None:
        """None is given twice, none is left, and of a key one at a time."""
        given = await filled(queue_stores[0], *(f"-{number}" for number in range(30)))
        await filled(queue_stores[0], *(f"k-{number}" for number in range(5)))

        leased = await asyncio.gather(*(lease(queue_stores[number % 2], 4) for number in range(10)))

        taken = [name for each in leased for name in names(each)]
        assert len(taken) == len(set(taken))
        everything = sorted(taken + names(await lease(queue_stores[0])))
        assert everything == sorted([*(each.context.message_id for each in given), "k-0"])

    async def test_only_the_first_message_of_a_key_is_leased(self, queue_stores: TwoQueues) -> None:
        """By nobody another, until that one is done; other keys go on."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "b-1", "a-3", "-1", "b-2")

        first = await lease(one)
        nothing = await lease(other)
        await one.complete([each for each in first if each.message.key == "a"])
        second = await lease(other)
        await one.complete(first)
        third = await lease(one)

        assert names(first) == ["a-1", "b-1", "-1"]
        assert nothing == []
        assert names(second) == ["a-2"]
        assert names(third) == ["b-2"]

    async def test_a_retry_holds_back_its_key(self, queue_stores: TwoQueues, time: StoreTime) -> None:
        """Until it is due, and then it is given before them, with its error."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "b-1")
        first, beside = await lease(one)
        await one.retry(first, delay=time.lease, error="refused: é")
        await one.complete([beside])

        assert await lease(other) == []
        await time.passes(1.0)
        [again] = await lease(other)

        assert (names([again]), again.attempt, again.error) == (["a-1"], 2, "refused: é")
        assert again.sequence == first.sequence
        assert again.message == first.message

    async def test_a_retry_without_a_key_holds_back_none(self, queue: QueueStore) -> None:
        """Messages without a key have no order."""
        await filled(queue, "-1", "-2")
        [first] = await lease(queue, 1)
        await queue.retry(first, delay=AMPLE, error="refused")

        assert names(await lease(queue)) == ["-2"]

    async def test_a_retry_comes_at_its_old_place(self, queue: QueueStore) -> None:
        """Before those that were added after it."""
        await filled(queue, "-1", "-2", "-3")
        first, second = await lease(queue, 2)
        await queue.retry(second, delay=0.0, error="refused")
        await queue.release([first])

        assert names(await lease(queue)) == ["-1", "-2", "-3"]

    async def test_every_lease_counts_as_an_attempt(self, queue_stores: TwoQueues, time: StoreTime) -> None:
        """Also one that has run out; but not one that was released. The last error stays."""
        one, other = queue_stores
        await filled(one, "a-1")
        first = (await lease(one, lease=time.lease))[0]
        await time.passes(1.1)
        second = (await lease(other))[0]
        await other.release([second])
        third = (await lease(one))[0]
        await one.retry(third, delay=0.0, error="refused")
        fourth = (await lease(other, lease=time.lease))[0]
        await time.passes(1.1)
        fifth = (await lease(one))[0]
        found = await other.get(QUEUE, "a-1")

        leases = [first, second, third, fourth, fifth]
        assert [each.attempt for each in leases] == [1, 2, 2, 3, 4]
        assert [each.error for each in leases] == [None, None, None, "refused", "refused"]
        tokens = [each.fencing_token for each in leases]
        assert tokens == sorted(set(tokens))
        assert found is not None
        assert (found.attempts, found.error, found.state) == (4, "refused", QueueState.LEASED)

    async def test_a_lease_of_a_queue_ends_exactly_at_its_time(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Then it is taken over, in order, by one of those who ask."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "-3", "b-4")
        dead = await lease(one, 2, lease=time.lease)
        await time.passes(0.5)
        early = await lease(other)
        await time.passes(0.5)
        states = [await one.get(QUEUE, name) for name in names(dead)]
        taken = await lease(other)

        assert names(early) == ["b-4"]
        assert [each and each.state for each in states] == [QueueState.READY] * 2
        assert names(taken) == names(dead) == ["a-1", "-3"]
        assert [each.sequence for each in taken] == [each.sequence for each in dead]
        assert all(new.fencing_token > old.fencing_token for new, old in zip(taken, dead, strict=True))
        assert await lease(one) == []

    async def test_a_renewed_message_of_a_queue_is_leased_from_now_on(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """And is ended by what it was leased as, or renewed as."""
        one, other = queue_stores
        await filled(one, "a-1", "-2", "a-3")
        leased = await lease(one, lease=time.lease)
        await time.passes(0.6)

        renewed = await one.renew(leased, lease=time.lease)
        await time.passes(0.6)

        assert names(renewed) == ["a-1", "-2"]
        assert await lease(other) == []
        await one.complete([leased[0], renewed[1]])
        assert names(await lease(other)) == ["a-3"]

    async def test_what_was_taken_over_from_a_queue_is_not_renewed(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Only those that are still the caller's come back, also after their time."""
        one, other = queue_stores
        await filled(one, "-1", "-2", "-3")
        lost = await lease(one, 1, lease=time.lease)
        late = await lease(one, 1, lease=time.lease)
        kept = await lease(one, 1)
        await time.passes(1.1)
        taken = await lease(other, 1, lease=time.lease)

        renewed = await one.renew([*lost, *late, *kept], lease=AMPLE)
        await time.passes(1.1)

        assert names(taken) == ["-1"]
        assert names(renewed) == ["-2", "-3"]
        assert names(await lease(one)) == ["-1"]

    async def test_a_retry_from_before_the_clock_stepped_back_is_over(self, queue: QueueStore) -> None:
        """It waits for longer than any delay; one that is leased, and one that is behind it, are not due."""
        await filled(queue, "k-1", "-2", "l-3", "k-4")
        first, *others = await lease(queue, lease=5000)
        await queue.retry(first, delay=5000, error="no connection")

        assert await lease(queue) == []
        assert await lease(queue, longest_delay=6000) == []
        given = await lease(queue, longest_delay=100)

        assert [(each.message.context.message_id, each.attempt) for each in given] == [("k-1", 2)]
        assert names(await queue.renew(others, lease=60)) == ["-2", "l-3"]

    async def test_a_wait_that_a_lease_ended_is_over_for_those_it_does_not_give(
        self, queue: QueueStore
    ) -> None:
        """They are shown as ready, and given also without `longest_delay`."""
        await filled(queue, "-1", "-2")
        for each in await lease(queue):
            await queue.retry(each, delay=5000, error="no connection")

        given = await lease(queue, limit=1, longest_delay=100)

        assert names(given) == ["-1"]
        entry = await queue.get(QUEUE, "-2")
        assert entry is not None
        assert entry.state is QueueState.READY
        assert (await queue.stats())[QUEUE].retrying == 0
        assert names(await lease(queue)) == ["-2"]

    async def test_nothing_that_was_due_waits_for_a_clock_that_stepped_back(
        self, make_stores: StoresFactory
    ) -> None:
        """What has its place keeps it, what was released is due at once; leases and delays wait for their time."""
        clock = _SteppingClock()
        place = Place(make_stores, clock)
        try:
            queue = (await place.open())[QueueStore]
            for name, after in (("placed", 10.0), ("later", 100.0)):
                await queue.add(queued(name, due_at=clock.time() + after), queues=[QUEUE])
            await filled(queue, "-released", "-now", "-leased", "-retried")
            released, now, leased, retried = await lease(queue)
            await clock.run_for(20.0)
            [placed] = await lease(queue)
            await queue.release([placed, released])
            await queue.retry(now, delay=0.0, error="refused")
            await queue.retry(retried, delay=30.0, error="refused")
            clock.set_back = 15.0

            found = await lease(queue)
            held_up = await lease(queue, longest_delay=60.0)
            given = await lease(queue, longest_delay=30.0)

            assert names(found) == ["-released", "-now", "placed"]
            assert held_up == []
            assert names(given) == ["-retried"]
            entry = await queue.get(QUEUE, "later")
            assert entry is not None
            assert entry.state is QueueState.SCHEDULED
            assert names(await queue.renew([leased], lease=AMPLE)) == ["-leased"]
            await clock.run_for(95.0)
            assert names(await lease(queue)) == ["later"]
        finally:
            await place.close_all()
