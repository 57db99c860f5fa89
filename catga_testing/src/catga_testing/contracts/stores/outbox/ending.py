"""How a message leaves the outbox, or goes back to it."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import LeasedMessage, OutboxStore
from catga_testing.contracts.stores.outbox.base import AMPLE, OutboxContractBase, Two, filled, lease, names
from catga_testing.contracts.stores.place import StoreTime, turns


class EndingContract(OutboxContractBase):
    """Sent, given back, tried again or discarded, by who has it."""

    async def test_a_sent_message_is_not_given_again(self, outboxes: Two, time: StoreTime) -> None:
        """Also when its lease would have run out."""
        one, other = outboxes
        await filled(one, "a-1", "a-2")
        await one.complete(await lease(one, lease=time.lease))

        await time.passes(1.1)

        assert await lease(other) == []
        assert (await other.stats()).pending == 0

    async def test_a_message_is_given_back_for_a_later_try(self, outboxes: Two, time: StoreTime) -> None:
        """It is due after its delay, and knows how often it failed and why."""
        one, other = outboxes
        await filled(one, "a-1")
        [first] = await lease(one)

        await one.retry(first, delay=time.lease, error="refused: é")
        early = await lease(other)
        await time.passes(1.1)
        [second] = await lease(other)
        await other.retry(second, delay=0.0, error="refused again")
        [third] = await lease(one)

        assert early == []
        assert (second.attempts, second.error) == (1, "refused: é")
        assert (third.attempts, third.error) == (2, "refused again")
        assert third.message == first.message

    async def test_a_message_is_given_back_untried(self, outboxes: Two) -> None:
        """It is due at once, and nothing is counted."""
        one, other = outboxes
        await filled(one, "a-1", "a-2")
        leased = await lease(one)

        await one.release(leased)

        again = await lease(other)
        assert names(again) == ["a-1", "a-2"]
        assert [(each.attempts, each.error) for each in again] == [(0, None)] * 2

    async def test_a_release_after_failed_tries_keeps_their_count(self, outbox: OutboxStore) -> None:
        """And the last error."""
        await filled(outbox, "a-1")
        await outbox.retry((await lease(outbox))[0], delay=0.0, error="refused")

        await outbox.release(await lease(outbox))

        [again] = await lease(outbox)
        assert (again.attempts, again.error) == (1, "refused")

    async def test_a_discarded_message_is_gone(self, outboxes: Two, time: StoreTime) -> None:
        """And no longer holds up its key."""
        one, other = outboxes
        await filled(one, "a-1", "a-2")
        [first] = await lease(one, 1, lease=time.lease)

        assert await one.discard(first) is True

        assert (await other.stats()).pending == 1
        assert names(await lease(other)) == ["a-2"]
        await time.passes(1.1)
        assert await lease(other) == []

    @pytest.mark.parametrize("act", ["complete", "discard"])
    async def test_a_message_that_is_gone_is_not_discarded(self, outboxes: Two, act: str) -> None:
        """Whoever ended it: it was not there."""
        one, other = outboxes
        await filled(one, "a-1", "a-2")
        leased = await lease(one, 1)
        await _act(one, act, leased[0])

        assert await one.discard(leased[0]) is False
        assert await other.discard(leased[0]) is False

        assert (await one.stats()).pending == 1

    @pytest.mark.parametrize("act", ["complete", "retry", "release", "discard"])
    async def test_who_has_lost_a_message_can_do_nothing_with_it(
        self, outboxes: Two, time: StoreTime, act: str
    ) -> None:
        """The new owner still has it, and so it is given to nobody until that one has ended."""
        one, other = outboxes
        await filled(one, "a-1", "a-2")
        [lost] = await lease(one, 1, lease=time.lease)
        await time.passes(1.1)
        [taken] = await lease(other, 1)

        assert await _act(one, act, lost) in {None, False}

        assert await lease(one) == []
        assert (await one.stats()).pending == 2
        await other.release([taken])
        again = await lease(one, 1)
        assert names(again) == ["a-1"]
        assert (again[0].attempts, again[0].error) == (0, None)

    @pytest.mark.parametrize("act", ["complete", "discard"])
    async def test_a_message_that_nobody_took_over_is_ended_after_its_lease(
        self, outboxes: Two, time: StoreTime, act: str
    ) -> None:
        """It was sent, or is with the dead letters, and nobody else has begun."""
        one, other = outboxes
        await filled(one, "a-1", "a-2")
        [late] = await lease(one, 1, lease=time.lease)
        await time.passes(1.5)

        assert await _act(one, act, late) in {None, True}

        assert names(await lease(other)) == ["a-2"]

    async def test_several_are_completed_and_lost_ones_passed_over(
        self, outboxes: Two, time: StoreTime
    ) -> None:
        """Each for itself."""
        one, other = outboxes
        await filled(one, "a-1", "b-1", "-1")
        short = await lease(one, 1, lease=time.lease)
        long = await lease(one)
        await time.passes(1.1)
        taken = await lease(other, lease=time.lease)

        await one.complete([*short, *long])

        assert names(taken) == ["a-1"]
        assert (await other.stats()).pending == 1
        await time.passes(1.1)
        assert names(await lease(one)) == ["a-1"]

    async def test_a_lease_completes_sent_messages_first(self, outboxes: Two, time: StoreTime) -> None:
        """So that the next of their keys are given by the same call."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "b-1", "a-3")
        first = await lease(one, 1, lease=time.lease)

        second = await one.lease(limit=1, lease=AMPLE, sent=first)
        none = await one.lease(limit=0, lease=AMPLE, sent=[])
        third = await one.lease(limit=10, lease=AMPLE, sent=second)

        assert (names(second), none, names(third)) == (["a-2"], [], ["b-1", "a-3"])
        assert (await other.stats()).pending == 2
        await time.passes(1.1)
        assert await lease(other) == []

    async def test_a_lease_passes_over_sent_messages_that_are_lost(
        self, outboxes: Two, time: StoreTime
    ) -> None:
        """Their new owner still has them; the others are completed."""
        one, other = outboxes
        await filled(one, "a-1", "-1", "-2")
        lost = await lease(one, 1, lease=time.lease)
        kept = await lease(one, 1)
        await time.passes(1.1)
        taken = await lease(other, 1)

        given = await one.lease(limit=10, lease=AMPLE, sent=[*lost, *kept])

        assert (names(taken), names(given)) == (["a-1"], ["-2"])
        assert (await one.stats()).pending == 2
        await other.release(taken)
        assert names(await lease(one)) == ["a-1"]

    async def test_pruning_removes_sent_messages_and_never_pending_ones(
        self, outboxes: Two, time: StoreTime
    ) -> None:
        """Leased, waiting for their next try, or untouched; at most as many as asked for."""
        one, other = outboxes
        await filled(one, "-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8")
        await one.complete(await lease(one, 5))
        held, retried = await lease(one, 2)
        await one.retry(retried, delay=AMPLE, error="refused")
        assert await other.prune(older_than=time.lease) == 0
        await time.passes(1.1)

        removed = [await other.prune(older_than=time.lease, limit=2) for _ in range(4)]

        assert removed == [2, 2, 1, 0]
        assert (await other.stats()).pending == 3
        assert names(await lease(other)) == ["-8"]
        await one.complete([held])
        assert (await one.stats()).pending == 2

    async def test_a_cancelled_relay_leaves_every_message_to_be_sent(
        self, outbox: OutboxStore, time: StoreTime
    ) -> None:
        """At the latest when its leases have run out."""
        for number in range(10):
            await filled(outbox, f"a-{number}")
            leasing = asyncio.create_task(lease(outbox, 1, lease=time.lease))
            await turns(number)
            leasing.cancel()
            await asyncio.wait({leasing})
        await time.passes(1.1)

        assert names(await lease(outbox)) == [f"a-{number}" for number in range(10)]


async def _act(outbox: OutboxStore, act: str, leased: LeasedMessage) -> bool | None:
    if act == "discard":
        return await outbox.discard(leased)
    if act == "complete":
        await outbox.complete([leased])
    elif act == "release":
        await outbox.release([leased])
    else:
        await outbox.retry(leased, delay=0.0, error="late")
    return None
