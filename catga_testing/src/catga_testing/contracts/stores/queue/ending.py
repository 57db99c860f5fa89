"""How a message leaves a queue, or goes back to it."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.errors import LeaseLostError
from catga_core.interfaces import QueueLease, QueueState, QueueStore, Stores
from catga_testing.contracts.stores.base import both
from catga_testing.contracts.stores.place import StoreTime, turns
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


class QueueEndingContract(QueueContractBase):
    """Done, given back, tried again, discarded or cancelled."""

    async def test_a_completed_message_is_known_with_its_result(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """It is not given again, and its bytes are gone."""
        one, other = queue_stores
        first, second = await filled(one, "a-1", "b-2")
        leased = await lease(one, lease=time.lease)
        await one.retry(leased[1], delay=0.0, error="refused")
        leased[1:] = await lease(one, lease=time.lease)
        await one.complete(leased, result=b"\x00\xff")

        await time.passes(1.1)

        assert await lease(other) == []
        assert dict(await other.stats()) == {}
        assert list((await other.find()).entries) == []
        for message, attempts, error in ((first, 1, None), (second, 2, "refused")):
            found = await other.get(QUEUE, message.context.message_id)
            assert found is not None
            assert (found.queue, found.state, found.result) == (QUEUE, QueueState.DONE, b"\x00\xff")
            assert (found.attempts, found.error) == (attempts, error)
            assert found.message.data == b""
            assert (found.message.context, found.message.key) == (message.context, message.key)

    async def test_a_message_is_completed_without_a_result(self, queue: QueueStore) -> None:
        """Or with one that is empty, which is another."""
        await filled(queue, "-1", "-2")
        first, second = await lease(queue)

        await queue.complete([first])
        await queue.complete([second], result=b"")

        found = [await queue.get(QUEUE, name) for name in ("-1", "-2")]
        assert [each and each.result for each in found] == [None, b""]
        await queue.complete([first], result=b"late")
        again = await queue.get(QUEUE, "-1")
        assert again is not None
        assert again.result is None

    async def test_a_discarded_message_of_a_queue_is_gone(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """It no longer holds back its key, and its id may be added again."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2")
        [first] = await lease(one, lease=time.lease)

        assert await one.discard(first) is True

        assert await other.get(QUEUE, "a-1") is None
        assert names(await lease(other)) == ["a-2"]
        await other.add(queued("a-1", fingerprint="kit.Other@1#ff"), queues=[QUEUE])
        await time.passes(1.1)
        [again] = await lease(one)
        assert (names([again]), again.attempt) == (["a-1"], 1)
        assert await one.discard(first) is False

    @pytest.mark.parametrize("act", ["complete", "discard"])
    async def test_a_message_that_has_left_a_queue_is_not_discarded(
        self, queue_stores: TwoQueues, act: str
    ) -> None:
        """Nor is its key held."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2")
        [leased] = await lease(one)
        await _act(one, act, leased)

        assert await one.discard(leased, hold_key=True) is False
        assert await other.discard(leased) is False

        assert await one.release_key(QUEUE, "a") is False
        assert names(await lease(one)) == ["a-2"]

    @pytest.mark.parametrize("act", ["complete", "retry", "release", "discard"])
    async def test_who_has_lost_a_message_of_a_queue_can_do_nothing_with_it(
        self, queue_stores: TwoQueues, time: StoreTime, act: str
    ) -> None:
        """The new owner still has it; nor can one who has given it back."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2")
        [lost] = await lease(one, lease=time.lease)
        await time.passes(1.1)
        [taken] = await lease(other)

        assert await _act(one, act, lost) in {None, False}

        assert await lease(one) == []
        await other.release([taken])
        assert await _act(other, act, taken) in {None, False}
        [again] = await lease(one)
        assert (names([again]), again.attempt, again.error) == (["a-1"], 2, None)

    @pytest.mark.parametrize("act", ["complete", "retry", "release", "discard"])
    async def test_a_late_end_counts_while_nobody_has_taken_over(
        self, queue_stores: TwoQueues, time: StoreTime, act: str
    ) -> None:
        """Though another message of the queue was leased since."""
        one, other = queue_stores
        await filled(one, "-0", "a-1", "a-2")
        _, late = await lease(one, lease=time.lease)
        await time.passes(1.5)
        assert names(await lease(other, 1)) == ["-0"]

        assert await _act(one, act, late) in {None, True}

        [following] = await lease(other)
        assert names([following]) == ["a-1" if act in {"retry", "release"} else "a-2"]
        assert following.attempt == {"retry": 2, "release": 1}.get(act, 1)

    async def test_several_messages_of_a_queue_are_completed_and_lost_ones_passed_over(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Each for itself, of several queues."""
        one, other = queue_stores
        await filled(one, "a-1", "b-1", "-1")
        await filled(one, "c-1", queues=["other"])
        short = await lease(one, 1, lease=time.lease)
        long = await one.lease({QUEUE: 10, "other": 10}, lease=AMPLE)
        await time.passes(1.1)
        taken = await lease(other, lease=time.lease)

        await one.complete([*short, *long])

        assert names(taken) == ["a-1"]
        assert {name: each.ready for name, each in (await other.stats()).items()} == {QUEUE: 1}
        await time.passes(1.1)
        assert names(await lease(one)) == ["a-1"]

    @pytest.mark.parametrize("act", ["complete", "retry", "release", "discard"])
    async def test_a_unit_of_work_that_completes_a_lost_message_of_a_queue_fails(
        self, pair: tuple[Stores, Stores], time: StoreTime, act: str
    ) -> None:
        """Nothing of it is there; another consumer has the message, or somebody has ended it."""
        one, other = both(pair, QueueStore)
        await filled(one, "a-1", "b-1")
        lost, kept = await lease(one, lease=time.lease)
        await one.renew([kept], lease=AMPLE)
        await time.passes(1.1)
        [taken] = await lease(other)

        for how in ("taken over", "ended"):
            if how == "ended":
                await _act(other, act, taken)
            with pytest.raises(LeaseLostError):
                async with pair[0].storage.unit_of_work():
                    await one.add(queued("effect"), queues=["effects"])
                    await one.complete([kept, lost])
            assert await other.get("effects", "effect") is None
            found = await other.get(QUEUE, "b-1")
            assert found is not None
            assert found.state is QueueState.LEASED
        async with pair[0].storage.unit_of_work():
            await one.complete([kept])
        found = await other.get(QUEUE, "b-1")
        assert found is not None
        assert found.state is QueueState.DONE

    async def test_a_unit_of_work_completes_a_message_of_a_queue_after_its_lease(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """Where nobody has taken it over."""
        one, other = both(pair, QueueStore)
        await filled(one, "a-1")
        [late] = await lease(one, lease=time.lease)
        await time.passes(1.1)

        async with pair[0].storage.unit_of_work():
            await one.complete([late])

        found = await other.get(QUEUE, "a-1")
        assert found is not None
        assert found.state is QueueState.DONE

    @pytest.mark.parametrize("act", ["complete", "retry", "release", "discard"])
    async def test_required_message_of_a_queue_that_was_lost_fails_the_unit_of_work(
        self, pair: tuple[Stores, Stores], time: StoreTime, act: str
    ) -> None:
        """Another consumer has the message, or has ended it; nothing of the unit of work is there."""
        one, other = both(pair, QueueStore)
        await filled(one, "a-1")
        [lost] = await lease(one, lease=time.lease)
        await time.passes(1.1)
        [taken] = await lease(other)

        for how in ("taken over", "ended"):
            if how == "ended":
                await _act(other, act, taken)
            with pytest.raises(LeaseLostError):
                async with pair[0].storage.unit_of_work():
                    await one.add(queued("effect"), queues=["effects"])
                    await one.require(lost)
            with pytest.raises(LeaseLostError):
                await one.require(lost)
            assert await other.get("effects", "effect") is None

    async def test_required_message_of_a_queue_stays_as_it_is(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """Also after its lease, while no consumer has taken it over."""
        one, other = both(pair, QueueStore)
        await filled(one, "a-1", "a-2")
        [late] = await lease(one, lease=time.lease)
        await one.require(late)
        await time.passes(1.1)

        async with pair[0].storage.unit_of_work():
            await one.add(queued("effect"), queues=["effects"])
            await one.require(late)

        assert await other.get("effects", "effect") is not None
        assert names(await lease(other)) == ["a-1"]

    async def test_message_of_a_queue_that_the_unit_of_work_ends_is_not_its_own_any_more(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """Once it is completed."""
        one, other = both(pair, QueueStore)
        await filled(one, "a-1")
        [leased] = await lease(one)

        with pytest.raises(LeaseLostError):
            async with pair[0].storage.unit_of_work():
                await one.complete([leased])
                await one.require(leased)

        await other.require(leased)

    async def test_a_message_that_no_attempt_of_runs_is_cancelled(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """Ready, behind another, retrying, or with a lease that has run out; not one that is leased or done."""
        one, other = queue_stores
        await filled(one, "a-1", "a-2", "a-3", "-4", "-5", "-6")
        first, done, retried, expired = await lease(one, 4, lease=time.lease)
        await one.complete([done])
        await one.retry(retried, delay=AMPLE, error="refused")

        assert await other.cancel(QUEUE, "a-1") is False
        assert await other.cancel(QUEUE, "-4") is False
        assert await other.cancel(QUEUE, "-6") is False
        assert await other.cancel("other", "a-2") is False
        assert await other.cancel(QUEUE, "-5") is True
        assert await other.cancel(QUEUE, "a-2") is True
        await one.renew([first], lease=AMPLE)
        await time.passes(1.1)
        assert await other.cancel(QUEUE, "-6") is True
        await one.complete([expired, first])
        assert await one.get(QUEUE, "-6") is None
        assert names(await lease(other)) == ["a-3"]

    async def test_cancelling_the_first_message_of_a_key_lets_the_next_one_go_on(
        self, queue: QueueStore
    ) -> None:
        """Also when the first one waits for its next attempt."""
        await filled(queue, "a-1", "a-2", "a-3", "a-4")
        [first] = await lease(queue)
        await queue.retry(first, delay=AMPLE, error="refused")
        assert await lease(queue) == []

        assert await queue.cancel(QUEUE, "a-1") is True
        assert await queue.cancel(QUEUE, "a-3") is True
        [second] = await lease(queue)
        await queue.complete([second])

        assert names([second]) == ["a-2"]
        assert names(await lease(queue)) == ["a-4"]

    async def test_pruning_a_queue_removes_done_messages_and_never_others(
        self, queue_stores: TwoQueues, time: StoreTime
    ) -> None:
        """At most as many as asked for; an id may be added again then."""
        one, other = queue_stores
        await filled(one, "-1", "-2", "-3", queues=["first"])
        await filled(one, "-4", "-5", "-6", "-7", "-8", queues=["second"])
        await one.add(queued("s", due_at=time.clock.time() + AMPLE), queues=["first"])
        await one.complete(await lease(one, of="first"))
        await one.complete(await lease(one, 2, of="second"))
        held, retried = await lease(one, 2, of="second")
        await one.retry(retried, delay=AMPLE, error="refused")
        assert await other.prune(older_than=time.lease) == 0
        await time.passes(1.1)

        removed = [await other.prune(older_than=time.lease, limit=2) for _ in range(4)]

        assert removed == [2, 2, 1, 0]
        assert await other.get("first", "-1") is None
        assert (await other.stats())["second"].ready == 3
        assert names(await other.lease({"first": 9, "second": 9}, lease=AMPLE)) == ["-8"]
        await one.complete([held])
        await other.add(queued("-1", fingerprint="kit.Other@1#ff"), queues=["first"])
        assert names(await lease(one, of="first")) == ["-1"]

    async def test_a_cancelled_lease_of_a_queue_loses_no_message(
        self, queue: QueueStore, time: StoreTime
    ) -> None:
        """They are due when what was leased has run out."""
        for number in range(10):
            await filled(queue, f"a-{number}")
            leasing = asyncio.create_task(lease(queue, 1, lease=time.lease))
            await turns(number)
            leasing.cancel()
            await asyncio.wait({leasing})
        await time.passes(1.1)

        found: list[str] = []
        while leased := await lease(queue):
            found += names(leased)
            await queue.complete(leased)
        assert found == [f"a-{number}" for number in range(10)]


async def _act(queue: QueueStore, act: str, leased: QueueLease) -> bool | None:
    if act == "discard":
        return await queue.discard(leased)
    if act == "complete":
        await queue.complete([leased])
    elif act == "release":
        await queue.release([leased])
    else:
        await queue.retry(leased, delay=0.0, error="late")
    return None
