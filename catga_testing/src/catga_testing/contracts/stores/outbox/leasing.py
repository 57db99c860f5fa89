"""Who has a message, for how long, and in which order those of one key are given."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import OutboxStore
from catga_testing.contracts.stores.outbox.base import AMPLE, OutboxContractBase, Two, filled, lease, names
from catga_testing.contracts.stores.place import StoreTime


class LeasingContract(OutboxContractBase):
    """One relay has a message at a time; of one key nothing overtakes."""

    async def test_a_delay_from_before_the_clock_stepped_back_is_over(self, outbox: OutboxStore) -> None:
        """A message that waits for longer than any delay is due; one that is leased, and one behind it, are not."""
        await filled(outbox, "k-1", "-2", "l-3", "k-4")
        [first, *others] = await lease(outbox, 3, lease=5000)
        await outbox.retry(first, delay=5000, error="no connection")

        assert await lease(outbox) == []
        assert await outbox.lease(limit=10, lease=60, longest_delay=6000) == []
        given = await outbox.lease(limit=10, lease=60, longest_delay=100)

        assert names(given) == ["k-1", "k-4"]
        assert [each.attempts for each in given] == [1, 0]
        assert names(await outbox.renew(others, lease=60)) == ["-2", "l-3"]

    async def test_a_leased_message_is_nobody_elses(self, outboxes: Two) -> None:
        """As many as asked for, the oldest first."""
        one, other = outboxes
        await filled(one, "-1", "-2", "-3", "-4", "-5")

        assert names(await lease(one, 2)) == ["-1", "-2"]
        assert names(await lease(other, 2)) == ["-3", "-4"]
        assert names(await lease(one)) == ["-5"]
        assert await lease(other) == []

    async def test_of_many_who_lease_at_once_each_gets_its_own(self, outboxes: Two) -> None:
        """None is given twice, and none is left."""
        given = await filled(outboxes[0], *(f"-{number}" for number in range(30)))

        leased = await asyncio.gather(*(lease(outboxes[number % 2], 4) for number in range(10)))

        taken = [name for each in leased for name in names(each)]
        assert len(taken) == len(set(taken))
        rest = names(await lease(outboxes[0]))
        assert sorted(taken + rest) == sorted(each.context.message_id for each in given)

    async def test_messages_of_one_key_are_given_together_and_in_order(self, outbox: OutboxStore) -> None:
        """Beside those of other keys and of none."""
        await filled(outbox, "a-1", "b-1", "a-2", "-1", "a-3", "b-2")

        assert names(await lease(outbox)) == ["a-1", "b-1", "a-2", "-1", "a-3", "b-2"]

    async def test_no_later_message_of_a_key_is_given_while_one_is_leased(self, outboxes: Two) -> None:
        """To nobody, until that one is sent."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "b-1", "a-3", "-1")

        [first] = await lease(one, 1)
        beside = await lease(other)
        nothing = await lease(one)
        await one.complete([first])
        after = await lease(other, 1)
        last = await lease(one)

        assert names([first]) == ["a-1"]
        assert names(beside) == ["b-1", "-1"]
        assert nothing == []
        assert names(after) == ["a-2"]
        assert last == []

    async def test_no_later_message_of_a_key_is_given_while_one_waits_for_its_next_try(
        self, outboxes: Two, time: StoreTime
    ) -> None:
        """Other keys go on meanwhile; then it is given before them."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "a-3", "b-1")
        first, second = await lease(one, 2)
        await one.retry(first, delay=time.lease, error="refused")
        await one.release([second])

        meanwhile = await lease(other)
        await time.passes(1.1)
        due = await lease(other)

        assert names(meanwhile) == ["b-1"]
        assert names(due) == ["a-1", "a-2", "a-3"]
        assert [each.attempts for each in due] == [1, 0, 0]

    async def test_a_message_given_back_after_its_lease_ran_out_waits_for_its_next_try(
        self, outbox: OutboxStore, time: StoreTime
    ) -> None:
        """Also where a lease that asked for fewer has looked at it since."""
        await filled(outbox, "-1", "-2")
        _, late = await lease(outbox, lease=time.lease)
        await time.passes(1.1)
        taken = await lease(outbox, 1)
        await outbox.retry(late, delay=AMPLE, error="refused")

        assert names(taken) == ["-1"]
        assert await lease(outbox) == []

    async def test_a_message_of_a_key_given_back_after_its_lease_ran_out_waits_for_its_next_try(
        self, outbox: OutboxStore, time: StoreTime
    ) -> None:
        """Also where it has become the first of its key since."""
        await filled(outbox, "a-1", "a-2", "a-3")
        first, late, _ = await lease(outbox, lease=time.lease)
        await time.passes(1.1)
        await outbox.complete([first])
        await outbox.retry(late, delay=AMPLE, error="refused")

        assert await lease(outbox) == []
        assert (await outbox.stats()).retrying == 1

    async def test_messages_without_a_key_have_no_order(self, outbox: OutboxStore) -> None:
        """One that waits holds up none."""
        await filled(outbox, "-1", "-2")
        [first] = await lease(outbox, 1)
        await outbox.retry(first, delay=AMPLE, error="refused")

        assert names(await lease(outbox)) == ["-2"]

    async def test_the_leases_of_a_dead_relay_are_taken_over(self, outboxes: Two, time: StoreTime) -> None:
        """When they have run out, in order, with a higher number."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "-1", "b-1")
        dead = await lease(one, 3, lease=time.lease)

        await time.passes(0.5)
        early = await lease(other)
        await time.passes(0.6)
        taken = await lease(other)

        assert names(early) == ["b-1"]
        assert names(taken) == names(dead) == ["a-1", "a-2", "-1"]
        assert all(new.fencing_token > old.fencing_token for new, old in zip(taken, dead, strict=True))
        assert [each.sequence for each in taken] == [each.sequence for each in dead]
        assert await lease(one) == []

    async def test_lease_at_its_very_end_is_its_owners_until_taken_over(
        self, outboxes: Two, time: StoreTime
    ) -> None:
        """Its owner may still renew or end it; the next who asks takes it over, not a moment earlier."""
        if not time.moves:
            pytest.skip("the store's own clock cannot be stopped at a moment")
        one, other = outboxes
        await filled(one, "-1", "-2", "-3", "-4")
        first, second, third, fourth = await lease(one, lease=time.lease)

        await time.passes(1.0 - 1 / 1024)
        assert await lease(other) == []
        await time.passes(1 / 1024)

        assert await one.discard(first)
        assert names(await one.renew([second], lease=time.lease)) == ["-2"]
        await one.complete([third])
        assert names(await lease(other)) == ["-4"]
        assert not await one.discard(fourth)
        assert await one.renew([fourth], lease=AMPLE) == []
        assert (await one.stats()).pending == 2

    async def test_lease_taken_over_ends_those_behind_it(self, outboxes: Two, time: StoreTime) -> None:
        """Its former owner would otherwise send them before the one that was taken over."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "a-3", "a-4", "b-1")
        first, *behind, beside = await lease(one, lease=time.lease)
        await one.renew([behind[1]], lease=AMPLE)
        await time.passes(1.1)

        taken = await lease(other, 1)
        assert names(taken) == ["a-1"]
        assert names(await one.renew([first, *behind, beside], lease=AMPLE)) == ["b-1"]
        await one.complete(behind[:1])
        await one.retry(behind[1], delay=AMPLE, error="refused")
        assert not await one.discard(behind[2])
        await other.complete(taken)

        assert names(await lease(other)) == ["a-2", "a-3", "a-4"]
        assert (await one.stats()).retrying == 0

    async def test_message_given_back_gives_back_those_behind_it(self, outboxes: Two) -> None:
        """Whether it waits for its next try or is due at once; those before it and of other keys are kept."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "a-3", "b-1", "b-2", "-1")
        leased = await lease(one)

        await one.release([leased[1]])
        await one.retry(leased[3], delay=0.0, error="refused")

        assert names(await lease(other)) == ["b-1", "b-2"]
        assert names(await one.renew(leased, lease=AMPLE)) == ["a-1", "-1"]
        await one.complete(leased[:1])
        assert names(await lease(other)) == ["a-2", "a-3"]

    async def test_a_lease_that_has_run_out_holds_up_its_key_until_it_is_taken_over(
        self, outboxes: Two, time: StoreTime
    ) -> None:
        """The former owner may have sent it or not: it comes first."""
        one, other = outboxes
        await filled(one, "a-1", "a-2", "a-3")
        await lease(one, 2, lease=time.lease)
        await time.passes(1.1)

        assert names(await lease(other, 1)) == ["a-1"]
        assert await lease(one) == []

    async def test_numbers_rise_with_every_lease_of_a_message(
        self, outbox: OutboxStore, time: StoreTime
    ) -> None:
        """After a retry, a release, and a lease that ran out."""
        await filled(outbox, "a-1")
        first = (await lease(outbox))[0]
        await outbox.retry(first, delay=0.0, error="refused")
        second = (await lease(outbox))[0]
        await outbox.release([second])
        third = (await lease(outbox, lease=time.lease))[0]
        await time.passes(1.1)
        fourth = (await lease(outbox))[0]

        numbers = [each.fencing_token for each in (first, second, third, fourth)]
        assert numbers == sorted(set(numbers))

    async def test_a_renewed_message_is_leased_from_now_on(self, outboxes: Two, time: StoreTime) -> None:
        """And is completed by what it was leased as, or renewed as."""
        one, other = outboxes
        await filled(one, "-1", "-2")
        leased = await lease(one, lease=time.lease)
        await time.passes(0.6)

        renewed = await one.renew(leased, lease=time.lease)
        await time.passes(0.6)

        assert names(renewed) == ["-1", "-2"]
        assert await lease(other) == []
        await one.complete([leased[0], renewed[1]])
        assert (await one.stats()).pending == 0

    async def test_what_was_taken_over_is_not_renewed(self, outboxes: Two, time: StoreTime) -> None:
        """Only those that are still the caller's come back."""
        one, other = outboxes
        await filled(one, "-1", "-2")
        lost = await lease(one, 1, lease=time.lease)
        kept = await lease(one, 1)
        await time.passes(1.1)
        taken = await lease(other, lease=time.lease)

        renewed = await one.renew([*lost, *kept], lease=AMPLE)
        await time.passes(1.1)

        assert names(taken) == ["-1"]
        assert names(renewed) == ["-2"]
        assert names(await lease(one)) == ["-1"]
