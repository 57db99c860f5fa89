"""Keys that are held because a message of theirs is in the dead letters."""

from __future__ import annotations

from catga_core.interfaces import QueueState, QueueStore
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


class QueueKeysContract(QueueContractBase):
    """A held key is not given until it is released, and then in its order."""

    async def test_a_held_key_is_not_given_until_it_is_released(self, queue_stores: TwoQueues) -> None:
        """Nor what is added to it meanwhile; other keys, and the key in other queues, go on."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "b-1", "-1")
        await filled(one, "a-1", "a-2", queues=["other"])
        [first] = await lease(one, 1)

        assert await one.discard(first, hold_key=True) is True
        await filled(other, "a-3", "b-2")
        beside = await other.lease({QUEUE: 9, "other": 9}, lease=AMPLE)
        await other.complete(beside)
        after = await other.lease({QUEUE: 9, "other": 9}, lease=AMPLE)
        released = await other.release_key(QUEUE, "a")
        again = await one.release_key(QUEUE, "a")

        assert sorted(names(beside)) == ["-1", "a-1", "b-1"]
        assert sorted(names(after)) == ["a-2", "b-2"]
        assert (released, again) == (True, False)
        [second] = await lease(one)
        assert names([second]) == ["a-2"]
        await one.complete([second])
        assert names(await lease(other)) == ["a-3"]

    async def test_a_held_key_is_told_in_states_and_numbers(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Also when it has no message any more."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "b-1")
        await scheduled(one, time, a_3=1.0)
        [first] = await lease(one, 1)
        await one.discard(first, hold_key=True)

        states = [await other.get(QUEUE, name) for name in ("a-1", "a-2", "a-3", "b-1")]
        assert [each and each.state for each in states] == [
            None,
            QueueState.HELD,
            QueueState.SCHEDULED,
            QueueState.READY,
        ]
        stats = (await other.stats())[QUEUE]
        assert (stats.ready, stats.scheduled, stats.leased, stats.held_keys) == (2, 1, 0, 1)
        await time.passes(1.1)
        late = await other.get(QUEUE, "a-3")
        assert late is not None
        assert late.state is QueueState.HELD
        await one.complete(await lease(one))
        for name in ("a-2", "a-3"):
            assert await one.cancel(QUEUE, name) is True
        empty = (await other.stats())[QUEUE]
        assert (empty.ready, empty.held_keys, empty.oldest_at) == (0, 1, None)
        await one.release_key(QUEUE, "a")
        assert dict(await other.stats()) == {}

    async def test_a_scheduled_message_of_a_held_key_waits_at_its_place(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """Behind those that were there before its time."""
        await scheduled(queue, time, a_2=1.0)
        await filled(queue, "a-1")
        [first] = await lease(queue)
        await queue.discard(first, hold_key=True)
        await filled(queue, "a-3")
        await time.passes(1.1)
        assert await lease(queue) == []
        await filled(queue, "a-4")
        await queue.release_key(QUEUE, "a")

        found: list[str] = []
        while leased := await lease(queue):
            found += names(leased)
            await queue.complete(leased)

        assert found == ["a-3", "a-2", "a-4"]

    async def test_a_message_without_a_key_holds_none(self, queue: QueueStore) -> None:
        """There is nothing to release; an empty key is one."""
        await filled(queue, "-1", "-2")
        await queue.add(queued("e-1", key=""), queues=[QUEUE])
        await queue.add(queued("e-2", key=""), queues=[QUEUE])
        first, second, third = await lease(queue)

        assert await queue.discard(first, hold_key=True) is True
        assert [each.held_keys for each in (await queue.stats()).values()] == [0]
        assert await queue.discard(third, hold_key=True) is True

        assert [each.held_keys for each in (await queue.stats()).values()] == [1]
        assert await lease(queue) == []
        assert await queue.release_key(QUEUE, "") is True
        assert names(await lease(queue)) == ["e-2"]
        await queue.complete([second])

    async def test_a_replayed_message_goes_behind_a_held_key(self, queue: QueueStore) -> None:
        """The key is held still, so that others can be added before it is released."""
        await filled(queue, "a-1", "a-2")
        [first] = await lease(queue)
        await queue.discard(first, hold_key=True)

        await filled(queue, "a-1")

        assert await lease(queue) == []
        await queue.release_key(QUEUE, "a")
        [second] = await lease(queue)
        assert names([second]) == ["a-2"]
        await queue.discard(second, hold_key=True)
        assert await lease(queue) == []
        await queue.release_key(QUEUE, "a")
        assert names(await lease(queue)) == ["a-1"]
