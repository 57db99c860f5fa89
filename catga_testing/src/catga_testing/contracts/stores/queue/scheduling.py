"""Messages for later: when they are due, and the places they take then."""

from __future__ import annotations

from catga_core.interfaces import QueueLease, QueueState, QueueStore
from catga_core.messages.delivery import Priority
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


class QueueSchedulingContract(QueueContractBase):
    """A scheduled message is not there for consumers until its time has come, and then comes last."""

    async def test_a_scheduled_message_is_given_from_its_time_on(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Not before, and exactly then where time can be moved; one for a past time at once."""
        one, other = queue_stores
        await scheduled(one, time, _1=1.0, _2=-5.0, _3=3.0)

        assert names(await lease(other)) == ["-2"]
        await time.passes(0.5)
        assert await lease(other) == []
        await time.passes(0.5)
        [leased] = await lease(other)
        assert (names([leased]), leased.attempt, leased.error) == (["-1"], 1, None)

    async def test_a_scheduled_message_takes_its_place_when_its_time_has_come(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Behind what was added before that, and before what is added after that, though nothing was leased between."""
        one, other = queue_stores
        await scheduled(one, time, a_1=1.0)
        await filled(one, "a-2")
        await time.passes(1.1)
        await filled(other, "a-3", "-4")

        found: list[QueueLease] = []
        while leased := await lease(other, 1):
            found += leased
            await one.complete(leased)

        assert names(found) == ["a-2", "a-1", "a-3", "-4"]
        places = [each.sequence for each in found]
        assert places == sorted(set(places))

    async def test_scheduled_messages_come_in_the_order_of_their_times(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """Those of one time in the order in which they were added."""
        now = time.clock.time()
        times = {"z": 2.0, "b": 1.0, "c": 1.0, "y": 1.5, "a": 1.0}
        for name, after in times.items():
            await queue.add(queued(name, due_at=now + after * time.lease), queues=[QUEUE])
        await time.passes(2.1)

        leased = await lease(queue, 2)
        leased += await lease(queue)

        assert names(leased) == ["b", "c", "a", "y", "z"]
        places = [each.sequence for each in leased]
        assert places == sorted(set(places))

    async def test_a_scheduled_message_does_not_hold_back_its_key(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """Before its time; and then it keeps the order of the places."""
        await scheduled(queue, time, a_1=1.0, a_2=1.5)
        await filled(queue, "a-3", "a-4")

        [first] = await lease(queue)
        await time.passes(2.0)
        nothing = await lease(queue)
        await queue.complete([first])
        rest: list[str] = []
        while leased := await lease(queue):
            rest += names(leased)
            await queue.complete(leased)

        assert names([first]) == ["a-3"]
        assert nothing == []
        assert rest == ["a-4", "a-1", "a-2"]

    async def test_scheduled_messages_are_given_by_priority_when_they_are_due(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """As the others are."""
        due_at = time.clock.time() + time.lease
        for name, priority in (("l", Priority.LOW), ("n", Priority.NORMAL), ("h", Priority.HIGH)):
            await queue.add(queued(name, due_at=due_at, priority=priority), queues=[QUEUE])
        await queue.add(queued("now"), queues=[QUEUE])
        await time.passes(1.1)

        assert names(await lease(queue)) == ["h", "now", "n", "l"]

    async def test_a_scheduled_time_is_kept_whatever_the_longest_delay(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """Only what was given back waits no longer than that."""
        await scheduled(queue, time, _1=200.0)

        assert await lease(queue, longest_delay=0.01) == []
        assert await lease(queue, longest_delay=0.0) == []

    async def test_the_state_of_a_scheduled_message_follows_its_time(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Also where no lease has come to look at it."""
        one, other = queue_stores
        [given] = await scheduled(one, time, a_1=1.0)

        early = await other.get(QUEUE, "a-1")
        before = (await other.stats())[QUEUE]
        await time.passes(1.1)
        due = await other.get(QUEUE, "a-1")
        after = (await other.stats())[QUEUE]

        assert early is not None
        assert due is not None
        assert (early.state, early.attempts, early.error) == (QueueState.SCHEDULED, 0, None)
        assert abs(early.due_at - given.due_at) < 1e-3
        assert (before.ready, before.scheduled, before.oldest_at) == (0, 1, None)
        assert due.state is QueueState.READY
        assert (after.ready, after.scheduled) == (1, 0)
        assert after.oldest_at is not None
        assert abs(after.oldest_at - given.due_at) < 1e-3

    async def test_a_cancelled_scheduled_message_is_never_given(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """And its id may be added again, with other content."""
        one, other = queue_stores
        await scheduled(one, time, a_1=1.0, a_2=1.0)

        assert await other.cancel(QUEUE, "a-1") is True
        assert await one.cancel(QUEUE, "a-1") is False
        assert await other.get(QUEUE, "a-1") is None
        await one.add(
            queued("a-1", fingerprint="kit.Other@1#ff", due_at=time.clock.time() + AMPLE), queues=[QUEUE]
        )

        await time.passes(1.1)
        assert names(await lease(one)) == ["a-2"]

    async def test_a_scheduled_message_in_several_queues_is_due_in_each(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """It takes a place in each when a lease asks that queue."""
        due_at = time.clock.time() + time.lease
        await queue.add(queued("m", due_at=due_at), queues=["first", "second"])
        await time.passes(1.1)

        assert names(await lease(queue, of="first")) == ["m"]
        assert names(await queue.lease({"first": 5, "second": 5}, lease=AMPLE)) == ["m"]

    async def test_many_that_are_due_at_once_are_all_given(self, queue: QueueStore, time: StoreTime) -> None:
        """In their order, however few are asked for at a time."""
        due_at = time.clock.time() + time.lease
        for number in range(1100):
            await queue.add(queued(f"m-{number:04}", due_at=due_at), queues=[QUEUE])
        await time.passes(1.1)

        found: list[str] = []
        while leased := await lease(queue, 300):
            found += names(leased)
            await queue.complete(leased)

        assert found == [f"m-{number:04}" for number in range(1100)]
