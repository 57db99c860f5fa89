"""What is added, and comes back as it was."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import Priority
from catga_core.errors import MessageIdConflictError
from catga_core.interfaces import OutboxStore, Stores, ToEnqueue
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.base import both
from catga_testing.contracts.stores.outbox.base import OutboxContractBase, Two, filled, lease, names
from catga_testing.contracts.stores.place import Place, StoreTime, outside, turns
from catga_testing.contracts.stores.records import FULL_CONTEXT, NOW, ODD_DATA, ODD_NAMES, message


class AddingContract(OutboxContractBase):
    """A message is stored once, and given in the order of the commits."""

    async def test_an_empty_outbox_has_nothing_to_give(self, outbox: OutboxStore) -> None:
        """Nor does adding nothing change it."""
        await outbox.add([])

        assert await lease(outbox) == []

    @pytest.mark.parametrize("data", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_a_message_comes_back_as_it_was(self, outbox: OutboxStore, data: bytes) -> None:
        """Every field and every byte, never tried."""
        full = message(
            name="kit.Größe{}: *",
            schema_version=2**31 - 1,
            format="msgpack+ü",
            data=data,
            context=FULL_CONTEXT,
            key="key: {é} *",
            created_at=NOW + 0.125,
            fingerprint="kit.Größe@2#0f",
            enqueue=ToEnqueue(NOW + 0.5, "key: {é} *", Priority.HIGH),
        )
        bare = message(data=data)

        await outbox.add([full, bare])

        leased = await lease(outbox)
        assert [each.message for each in leased] == [full, bare]
        assert dict(leased[0].message.context.headers) == dict(FULL_CONTEXT.headers)
        assert [(each.attempts, each.error) for each in leased] == [(0, None)] * 2
        assert all(each.fencing_token >= 1 for each in leased)

    async def test_messages_come_in_the_order_in_which_they_were_added(self, outboxes: Two) -> None:
        """Their places rise."""
        given = [message(f"m-{number}") for number in range(10)]
        await outboxes[0].add(given[:4])
        await outboxes[1].add(given[4:6])
        await outboxes[0].add(given[6:])

        leased = await lease(outboxes[1])

        assert [each.message for each in leased] == given
        places = [each.sequence for each in leased]
        assert places == sorted(set(places))

    async def test_a_message_that_is_there_is_not_added_again(self, outboxes: Two) -> None:
        """Alone, among others, twice at once, and while it is leased."""
        first = message("m-1")
        await outboxes[0].add([first])

        await outboxes[1].add([message("m-1", key="other")])
        await outboxes[0].add([message("m-2"), message("m-1"), message("m-2")])
        await asyncio.gather(*(outboxes[number % 2].add([message("m-3")]) for number in range(10)))

        leased = await lease(outboxes[0])
        assert names(leased) == ["m-1", "m-2", "m-3"]
        assert leased[0].message == first
        await outboxes[1].add([message("m-1")])
        assert await lease(outboxes[1]) == []
        assert (await outboxes[0].stats()).pending == 3

    async def test_another_message_under_a_known_id_is_refused(self, outboxes: Two) -> None:
        """While it is pending, leased and sent; of what is added together, nothing is."""
        first = message("m-1", fingerprint="kit.Placed@1#aa")
        others = ["kit.Placed@1#bb", "kit.Other@1#aa", "kit.Other@2#aa"]

        async def refused() -> None:
            for other in others:
                with pytest.raises(MessageIdConflictError) as conflict:
                    await outboxes[1].add([message(), message("m-1", fingerprint=other)])
                assert conflict.value.message_id == "m-1"
                assert not conflict.value.retryable

        await outboxes[0].add([first])
        await refused()
        [leased] = await lease(outboxes[0])
        assert leased.message == first
        await refused()
        await outboxes[0].complete([leased])
        await refused()
        with pytest.raises(MessageIdConflictError):
            await outboxes[0].add([message("m-2", fingerprint=each) for each in others[:2]])
        assert await lease(outboxes[0]) == []

    async def test_a_repetition_is_recognized_by_its_fingerprint(self, outboxes: Two) -> None:
        """Of two versions only the names are compared, and unknown content counts as the same."""
        await outboxes[0].add([message("m-1", fingerprint="kit.Placed@1#aa")])
        await outboxes[0].add([message("m-2")])

        for repeated in ("kit.Placed@1#aa", "kit.Placed@2#bb", "kit.Placed@1#", ""):
            await outboxes[1].add([message("m-1", fingerprint=repeated)])
        await outboxes[1].add([message("m-2", fingerprint="kit.Placed@1#aa")])

        assert names(await lease(outboxes[0])) == ["m-1", "m-2"]

    async def test_places_rise_in_the_order_of_commits(self, pair: tuple[Stores, Stores]) -> None:
        """One that commits late comes late."""
        two = both(pair, OutboxStore)
        leased: list[tuple[int, str]] = []

        async def take() -> None:
            leased.extend((each.sequence, each.message.context.message_id) for each in await lease(two[1]))

        async with pair[0].storage.unit_of_work():
            await two[0].add([message("late")])
            adding = asyncio.create_task(outside(lambda: two[1].add([message("between")])))
            # It may be made to wait for the unit of work: then it comes after it.
            await asyncio.wait({adding}, timeout=0.05)
            if adding.done():
                await outside(take)
        async with asyncio.timeout(PATIENCE):
            await adding
        await take()

        assert sorted(name for _, name in leased) == ["between", "late"]
        assert leased == sorted(leased)

    async def test_messages_and_keys_with_similar_names_are_kept_apart(self, outbox: OutboxStore) -> None:
        """No key holds up another."""
        given = [message(name, key=name) for name in ODD_NAMES]
        for each in given:
            await outbox.add([each])
        await outbox.add(given)

        first = await lease(outbox, 1)
        others = await lease(outbox, 100)

        assert [each.message for each in first + others] == given

    async def test_it_tells_how_many_wait_and_since_when(self, outboxes: Two) -> None:
        """Leased or not, until they are sent."""
        one, other = outboxes
        empty = await other.stats()
        await one.add([message("m-1", created_at=NOW + 5), message("m-2", created_at=NOW + 7)])
        two = await other.stats()
        [leased] = await lease(one, 1)
        still = await other.stats()
        await one.retry(leased, delay=60.0, error="refused")
        retrying = await other.stats()
        await one.complete(await lease(one))
        left = await other.stats()
        await one.discard(leased)

        assert (empty.pending, empty.oldest_created_at, empty.retrying) == (0, None, 0)
        assert (two.pending, two.oldest_created_at, two.retrying) == (2, NOW + 5, 0)
        assert still == two
        assert (retrying.pending, retrying.oldest_created_at, retrying.retrying) == (2, NOW + 5, 1)
        assert (left.pending, left.oldest_created_at, left.retrying) == (1, NOW + 5, 1)

    async def test_adding_wakes_who_waits(self, stores: Stores, outbox: OutboxStore) -> None:
        """And so does the commit of a unit of work."""
        for joined in (False, True):
            waiting = [asyncio.create_task(outbox.wait(timeout=PATIENCE)) for _ in range(2)]
            await turns(10)
            if joined:
                async with stores.storage.unit_of_work():
                    await outbox.add([message()])
            else:
                await outbox.add([message()])

            async with asyncio.timeout(SOON):
                await asyncio.gather(*waiting)
            await outbox.complete(await lease(outbox))

    async def test_nobody_waits_where_a_message_is_due(self, outboxes: Two) -> None:
        """It may be there since before."""
        await outboxes[0].add([message()])

        async with asyncio.timeout(SOON):
            await outboxes[1].wait(timeout=PATIENCE)

    async def test_who_waits_and_looks_in_a_loop_lets_others_work(self, outbox: OutboxStore) -> None:
        """Those who would send what it waits for, above all."""
        await outbox.add([message()])

        async def send() -> None:
            await outbox.complete(await lease(outbox))

        sending = asyncio.create_task(send())
        for _ in range(1000):
            if sending.done():
                break
            await outbox.wait(timeout=0.01)

        assert sending.done()
        await sending

    async def test_waiting_for_messages_ends_when_its_time_is_over(self, outbox: OutboxStore) -> None:
        """Or when it is cancelled, which harms nobody."""
        async with asyncio.timeout(SOON):
            await outbox.wait(timeout=0.05)
        waiting = [asyncio.create_task(outbox.wait(timeout=PATIENCE)) for _ in range(2)]
        await turns(10)
        waiting[0].cancel()
        await turns(2)

        await outbox.add([message()])

        async with asyncio.timeout(SOON):
            await waiting[1]
        assert waiting[0].cancelled()

    @needs(durable=True)
    async def test_messages_are_there_after_a_restart(
        self, place: Place, stores: Stores, time: StoreTime
    ) -> None:
        """With their places, leases and attempts; what was sent is not given again."""
        outbox = stores[OutboxStore]
        await filled(outbox, "-1", "-2", "-3", "-4")
        sent, retried, held = await lease(outbox, 3, lease=time.lease)
        await outbox.complete([sent])
        await outbox.retry(retried, delay=0.0, error="refused")

        outbox = (await place.reopen(stores))[OutboxStore]

        found = await lease(outbox)
        assert [(name, each.sequence) for name, each in zip(names(found), found, strict=True)] == [
            ("-2", retried.sequence),
            ("-4", found[1].sequence),
        ]
        assert (found[0].attempts, found[0].error) == (1, "refused")
        await time.passes(1.1)
        assert [each.sequence for each in await lease(outbox)] == [held.sequence]
