"""What is added to queues, and comes back as it was."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.errors import MessageIdConflictError
from catga_core.interfaces import QueueState, QueueStore, Stores
from catga_core.messages.delivery import Priority
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import both
from catga_testing.contracts.stores.place import Place, StoreTime, outside
from catga_testing.contracts.stores.queue.base import (
    AMPLE,
    QUEUE,
    QueueContractBase,
    TwoQueues,
    filled,
    lease,
    names,
)
from catga_testing.contracts.stores.records import (
    FULL_CONTEXT,
    NOW,
    ODD_DATA,
    ODD_NAMES,
    ODD_PAIRS,
    queued,
)


class QueueAddingContract(QueueContractBase):
    """A message is kept once in each queue, and given in the order of the commits."""

    async def test_an_empty_queue_has_nothing(self, queue: QueueStore) -> None:
        """To lease, to find, to count, to end."""
        await queue.add(queued("m-1"), queues=[])

        assert await lease(queue) == []
        assert await queue.lease({}, lease=AMPLE) == []
        assert await queue.get(QUEUE, "m-1") is None
        assert await queue.cancel(QUEUE, "m-1") is False
        assert await queue.release_key(QUEUE, "a") is False
        assert await queue.renew([], lease=AMPLE) == []
        await queue.complete([])
        await queue.release([])
        page = await queue.find()
        assert (list(page.entries), page.next) == ([], None)
        assert dict(await queue.stats()) == {}
        assert await queue.prune(older_than=0.0) == 0

    @pytest.mark.parametrize("data", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_a_queued_message_comes_back_as_it_was(self, queue: QueueStore, data: bytes) -> None:
        """Every field and every byte, in its lease and in its entry."""
        full = queued(
            name="kit.Größe{}: *",
            schema_version=2**31 - 1,
            format="msgpack+ü",
            data=data,
            context=FULL_CONTEXT,
            key="key: {é} *",
            due_at=1.125,
            created_at=NOW + 0.125,
            priority=Priority.HIGH,
            fingerprint="kit.Größe@2#0f",
        )
        bare = queued(data=data)

        await queue.add(full, queues=[QUEUE])
        await queue.add(bare, queues=[QUEUE])

        found = await queue.get(QUEUE, FULL_CONTEXT.message_id)
        assert found is not None
        assert found.message == full
        leased = await lease(queue)
        assert [each.message for each in leased] == [full, bare]
        assert dict(leased[0].message.context.headers) == dict(FULL_CONTEXT.headers)
        assert isinstance(leased[0].message.priority, Priority)
        assert [(each.queue, each.attempt, each.error) for each in leased] == [(QUEUE, 1, None)] * 2
        assert all(each.fencing_token >= 1 for each in leased)

    async def test_queued_messages_come_in_the_order_in_which_they_were_added(
        self, queue_stores: TwoQueues
    ) -> None:
        """Their places rise."""
        given = [queued(f"m-{number}") for number in range(10)]
        for number, each in enumerate(given):
            await queue_stores[number % 2].add(each, queues=[QUEUE])

        leased = await lease(queue_stores[1])

        assert [each.message for each in leased] == given
        places = [each.sequence for each in leased]
        assert places == sorted(set(places))

    async def test_a_queued_message_that_is_known_is_not_added_again(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Ready, scheduled, leased, retrying or done; also when many add it at once."""
        one, other = queue_stores
        later = time.clock.time() + time.lease
        first = queued("m-1", fingerprint="kit.Told@1#aa")

        async def again() -> None:
            for message in (queued("m-1", key="other"), queued("m-1", due_at=later)):
                await other.add(message, queues=[QUEUE])

        await one.add(first, queues=[QUEUE])
        await again()
        [leased] = await lease(one)
        assert leased.message == first
        await again()
        await one.retry(leased, delay=AMPLE, error="refused")
        await again()
        await asyncio.gather(
            *(queue_stores[number % 2].add(queued("m-2"), queues=[QUEUE]) for number in range(10))
        )
        [second] = await lease(one)
        await one.complete([second])
        await other.add(queued("m-2"), queues=[QUEUE])
        await one.add(queued("m-3", due_at=later), queues=[QUEUE])
        await other.add(queued("m-3"), queues=[QUEUE])

        assert await lease(one) == []
        await time.passes(1.1)
        assert names(await lease(other)) == ["m-3"]

    async def test_another_message_under_a_known_id_is_not_queued(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Whatever the known one waits for; of several queues, none gets it."""
        one, other = queue_stores
        first = queued("m-1", fingerprint="kit.Told@1#aa", due_at=time.clock.time() + time.lease)

        async def refused() -> None:
            for fingerprint in ("kit.Told@1#bb", "kit.Other@1#aa", "kit.Other@2#aa"):
                for queues in ([QUEUE], ["before", QUEUE], [QUEUE, "behind"]):
                    with pytest.raises(MessageIdConflictError) as conflict:
                        await other.add(queued("m-1", fingerprint=fingerprint), queues=queues)
                    assert conflict.value.message_id == "m-1"
                    assert not conflict.value.retryable

        await one.add(first, queues=[QUEUE])
        await refused()
        await time.passes(1.1)
        await refused()
        [leased] = await lease(one)
        assert leased.message == first
        await refused()
        await one.complete([leased])
        await refused()
        assert await one.lease({"before": 10, QUEUE: 10, "behind": 10}, lease=AMPLE) == []
        assert await one.get("before", "m-1") is None

    async def test_a_repetition_in_a_queue_is_recognized_by_its_fingerprint(
        self, queue_stores: TwoQueues
    ) -> None:
        """Of two versions only the names are compared, and unknown content counts as the same."""
        await queue_stores[0].add(queued("m-1", fingerprint="kit.Told@1#aa"), queues=[QUEUE])
        await queue_stores[0].add(queued("m-2"), queues=[QUEUE])

        for repeated in ("kit.Told@1#aa", "kit.Told@2#bb", "kit.Told@1#", ""):
            await queue_stores[1].add(queued("m-1", fingerprint=repeated), queues=[QUEUE])
        await queue_stores[1].add(queued("m-2", fingerprint="kit.Told@1#aa"), queues=[QUEUE])

        assert names(await lease(queue_stores[0])) == ["m-1", "m-2"]

    async def test_each_of_several_queues_has_a_message_of_its_own(self, queue_stores: TwoQueues) -> None:
        """What one does with it, or with its key, the others do not notice; one that has it already gets none."""
        one, other = queue_stores
        await filled(one, "a-1", queues=["second"])
        await filled(one, "a-1", "a-2", queues=["first", "second", "third"])

        leased = {name: await lease(other, of=name) for name in ("first", "second", "third")}
        assert {name: names(each) for name, each in leased.items()} == {name: ["a-1"] for name in leased}
        await one.complete(leased["first"])
        await one.discard(leased["second"][0], hold_key=True)
        await one.retry(leased["third"][0], delay=AMPLE, error="refused")

        assert names(await one.lease(dict.fromkeys(leased, 10), lease=AMPLE)) == ["a-2"]
        states = [await other.get(name, "a-1") for name in leased]
        assert [each and each.state for each in states] == [QueueState.DONE, None, QueueState.RETRYING]

    async def test_places_in_queues_rise_in_the_order_of_commits(self, pair: tuple[Stores, Stores]) -> None:
        """One that commits late comes late, also in another queue."""
        two = both(pair, QueueStore)
        leased: list[tuple[int, str]] = []

        async def take() -> None:
            found = await two[1].lease({QUEUE: 10, "other": 10}, lease=AMPLE)
            leased.extend((each.sequence, each.message.context.message_id) for each in found)

        async with pair[0].storage.unit_of_work():
            await two[0].add(queued("late"), queues=[QUEUE, "other"])
            adding = asyncio.create_task(outside(lambda: two[1].add(queued("between"), queues=[QUEUE])))
            # It may be made to wait for the unit of work: then it comes after it.
            await asyncio.wait({adding}, timeout=0.05)
            if adding.done():
                await outside(take)
        async with asyncio.timeout(PATIENCE):
            await adding
        await take()

        assert sorted(name for _, name in leased) == ["between", "late", "late"]
        assert len(dict(leased)) == 3
        if not self.capabilities.immediate:
            assert leased[0][1] == "between"

    async def test_queues_with_similar_names_are_kept_apart(self, queue: QueueStore) -> None:
        """So are messages with similar ids, and keys."""
        given = [queued(name, key=name) for name in ODD_NAMES]
        for each in given:
            await queue.add(each, queues=[each.context.message_id])
        for each in given:
            await queue.add(each, queues=[QUEUE])
            await queue.add(each, queues=[QUEUE])

        assert [each.message for each in await lease(queue)] == given
        for name, each in zip(ODD_NAMES, given, strict=True):
            [leased] = await lease(queue, of=name)
            assert (leased.queue, leased.message) == (name, each)
            await queue.complete([leased], result=name.encode())
            found = await queue.get(name, name)
            assert found is not None
            assert (found.state, found.result) == (QueueState.DONE, name.encode())

    async def test_keys_of_queues_with_similar_names_are_kept_apart(self, queue: QueueStore) -> None:
        """None holds another back, by its lease or by being held."""
        for number, (name, key) in enumerate(ODD_PAIRS):
            await queue.add(queued(f"first-{number}", key=key), queues=[name])
            await queue.add(queued(f"second-{number}", key=key), queues=[name])
        demands = dict.fromkeys([name for name, _ in ODD_PAIRS], 100)

        leased = await queue.lease(demands, lease=AMPLE)

        assert sorted(names(leased)) == sorted(f"first-{number}" for number in range(len(ODD_PAIRS)))
        [held, *others] = sorted(leased, key=lambda each: each.sequence)
        await queue.discard(held, hold_key=True)
        await queue.complete(others)
        rest = await queue.lease(demands, lease=AMPLE)
        assert sorted(names(rest)) == sorted(f"second-{number}" for number in range(1, len(ODD_PAIRS)))
        assert await queue.release_key(*ODD_PAIRS[1]) is False
        assert await queue.release_key(*ODD_PAIRS[0]) is True

    @needs(durable=True)
    async def test_queues_are_there_after_a_restart(
        self, place: Place, stores: Stores, time: StoreTime
    ) -> None:
        """With places, leases, attempts, held keys, times and results."""
        queue = stores[QueueStore]
        await filled(queue, "-1", "-2", "-3", "-4", "k-5", "k-6")
        await queue.add(queued("s", due_at=time.clock.time() + time.lease), queues=[QUEUE])
        done, retried, held = await lease(queue, 3, lease=time.lease)
        await queue.complete([done], result=b"42")
        await queue.retry(retried, delay=0.0, error="refused: é")
        again, fourth, poison = await lease(queue)
        await queue.release([fourth])
        await queue.discard(poison, hold_key=True)

        queue = (await place.reopen(stores))[QueueStore]

        assert names(await lease(queue)) == ["-4"]
        assert await queue.release_key(QUEUE, "k") is True
        assert names(await lease(queue)) == ["k-6"]
        found = await queue.get(QUEUE, "-1")
        assert found is not None
        assert (found.state, found.result) == (QueueState.DONE, b"42")
        found = await queue.get(QUEUE, "-2")
        assert found is not None
        assert (found.state, found.attempts, found.error) == (QueueState.LEASED, 2, "refused: é")
        assert names(await queue.renew([again], lease=AMPLE)) == ["-2"]
        await time.passes(1.1)
        late = await lease(queue)
        assert names(late) == ["-3", "s"]
        assert late[0].sequence == held.sequence
        assert [each.attempt for each in late] == [2, 1]
