"""What one block does several times over, and what it is told of it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from catga_core import CatgaError
from catga_core.errors import EventIdConflictError, MessageIdConflictError
from catga_core.interfaces import (
    ANY,
    NO_STREAM,
    DeadLetterStore,
    EventLog,
    InboxStore,
    OutboxStore,
    QueueStore,
    Stores,
)
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.base import StoresContractBase
from catga_testing.contracts.stores.event_log.base import everything, ids, stream
from catga_testing.contracts.stores.place import turns
from catga_testing.contracts.stores.records import appends, letter, message, queued, record, records


class WithinContract(StoresContractBase):
    """A block builds upon what it has asked for before."""

    @needs(EventLog)
    async def test_appends_of_one_block_to_one_stream_follow_each_other(self, stores: Stores) -> None:
        """Each expects the version that the one before has led to."""
        log = stores[EventLog]
        await log.append([appends("orders-1")])

        async with stores.storage.unit_of_work():
            results = [
                *await log.append([appends("orders-1", expected=1)]),
                *await log.append([appends("orders-1", *records(2), expected=2)]),
                *await log.append([appends("orders-1", expected=ANY)]),
            ]

        assert [each.version for each in results] == [2, 4, 5]
        assert [each.version for each in await stream(log, "orders-1")] == [1, 2, 3, 4, 5]

    @needs(EventLog)
    async def test_a_wrong_expectation_within_a_block_is_a_conflict(self, stores: Stores) -> None:
        """Also when it is the block's own append that has made it wrong."""
        log = stores[EventLog]

        with pytest.raises(CatgaError) as raised:
            async with stores.storage.unit_of_work():
                await log.append([appends("orders-1", expected=NO_STREAM)])
                await log.append([appends("orders-1", expected=NO_STREAM)])

        assert raised.value.code == "CONFLICT"
        assert await everything(log) == []

    @needs(EventLog)
    async def test_an_append_repeated_within_a_block_is_stored_once(self, stores: Stores) -> None:
        """And one that was stored before the block is recognised in it."""
        log = stores[EventLog]
        before = appends("orders-1", *records(2), expected=NO_STREAM)
        [first] = await log.append([before])
        within = appends("orders-2", *records(2))

        async with stores.storage.unit_of_work():
            [again] = await log.append([before])
            once, twice = [*await log.append([within]), *await log.append([within])]

        assert again.version == first.version
        assert once.version == twice.version == 2
        assert await ids(log, "orders-1") == [each.message_id for each in before.records]
        assert await ids(log, "orders-2") == [each.message_id for each in within.records]

    @needs(EventLog)
    async def test_another_event_under_an_id_of_the_block_is_refused(self, stores: Stores) -> None:
        """And one under an id that was stored before the block; the block goes on without it."""
        log = stores[EventLog]
        before, within = records(2), records(2)
        await log.append([appends("orders-1", *before)])

        async with stores.storage.unit_of_work():
            await log.append([appends("orders-2", *within)])
            for stream_id, known in (("orders-1", before), ("orders-2", within)):
                with pytest.raises(EventIdConflictError) as refused:
                    await log.append([appends(stream_id, known[0], replace(known[1], data=b"other"))])
                assert refused.value.version == 2

        assert await ids(log, "orders-1") == [each.message_id for each in before]
        assert await ids(log, "orders-2") == [each.message_id for each in within]

    @needs(OutboxStore)
    @pytest.mark.parametrize("before", [True, False])
    async def test_another_outbox_message_under_a_known_id_fails_the_block(
        self, stores: Stores, before: bool
    ) -> None:
        """At the call, or where writes are collected at the commit; nothing of the block is there."""
        outbox = stores[OutboxStore]
        if before:
            await outbox.add([message("m-1", fingerprint="kit.Placed@1#aa")])

        with pytest.raises(MessageIdConflictError):
            async with stores.storage.unit_of_work():
                await outbox.add([message("m-2"), message("m-1", fingerprint="kit.Placed@1#aa")])
                await outbox.add([message("m-1", fingerprint="kit.Placed@1#bb")])

        assert (await outbox.stats()).pending == (1 if before else 0)

    @needs(EventLog)
    async def test_positions_told_in_a_block_are_those_of_the_commit(self, stores: Stores) -> None:
        """Or 0, where the storage tells them only then."""
        log = stores[EventLog]

        async with stores.storage.unit_of_work():
            results = [
                *await log.append([appends("orders-1", *records(2))]),
                *await log.append([appends("orders-2")]),
            ]

        committed = [(await stream(log, name))[-1].position for name in ("orders-1", "orders-2")]
        told = [each.position for each in results]
        assert told == committed or (told == [0, 0] and not self.capabilities.immediate)

    @needs(EventLog)
    async def test_events_of_one_block_have_positions_in_the_order_of_its_calls(self, stores: Stores) -> None:
        """Also across streams, and when it comes back to one of them."""
        log = stores[EventLog]
        calls = [
            [appends("orders-1", *records(2))],
            [appends("orders-2")],
            [appends("orders-1"), appends("orders-3", *records(2))],
            [appends("orders-2")],
        ]

        async with stores.storage.unit_of_work():
            for call in calls:
                await log.append(call)

        stored = await everything(log)
        asked = [(each.stream_id, one.message_id) for call in calls for each in call for one in each.records]
        assert [(each.stream_id, each.record.message_id) for each in stored] == asked
        assert [each.position for each in stored] == [stored[0].position + number for number in range(7)]
        assert [each.version for each in stored] == [1, 2, 1, 3, 1, 2, 2]

    @needs(EventLog)
    async def test_a_commit_wakes_who_waits_for_events(self, stores: Stores) -> None:
        """And not before it is there to be read."""
        log = stores[EventLog]
        waiting = asyncio.create_task(log.wait(after=0, timeout=PATIENCE))
        await turns(10)

        async with stores.storage.unit_of_work():
            await log.append([appends("orders-1")])

        async with asyncio.timeout(SOON):
            await waiting
        assert len(await everything(log)) == 1

    @needs(InboxStore)
    async def test_a_note_made_twice_within_a_block_is_made_once(self, stores: Stores) -> None:
        """The second is not the first."""
        inbox = stores[InboxStore]

        async with stores.storage.unit_of_work():
            told = [await inbox.record("m-1", "SendEmail") for _ in range(2)]

        assert told == [True, False]
        assert await inbox.record("m-1", "SendEmail") is False

    @needs(OutboxStore)
    async def test_a_message_added_twice_within_a_block_is_added_once(self, stores: Stores) -> None:
        """By its id, also when it was there before."""
        outbox = stores[OutboxStore]
        await outbox.add([message("m-1")])

        async with stores.storage.unit_of_work():
            await outbox.add([message("m-2"), message("m-1")])
            await outbox.add([message("m-2")])

        assert (await outbox.stats()).pending == 2

    @needs(OutboxStore)
    async def test_a_message_discarded_twice_within_a_block_was_there_once(self, stores: Stores) -> None:
        """The second finds nothing any more."""
        outbox = stores[OutboxStore]
        await outbox.add([message("m-1")])
        [leased] = await outbox.lease(limit=1, lease=3600)

        async with stores.storage.unit_of_work():
            told = [await outbox.discard(leased) for _ in range(2)]

        assert told == [True, False]
        assert (await outbox.stats()).pending == 0

    @needs(QueueStore)
    @pytest.mark.parametrize("before", [True, False])
    async def test_another_queued_message_under_a_known_id_fails_the_block(
        self, stores: Stores, before: bool
    ) -> None:
        """At the call, or where writes are collected at the commit; nothing of the block is there."""
        queue = stores[QueueStore]
        if before:
            await queue.add(queued("m-1", fingerprint="kit.Told@1#aa"), queues=["mails"])

        with pytest.raises(MessageIdConflictError):
            async with stores.storage.unit_of_work():
                await queue.add(queued("m-2"), queues=["mails"])
                await queue.add(queued("m-1", fingerprint="kit.Told@1#aa"), queues=["mails"])
                await queue.add(queued("m-1", fingerprint="kit.Told@1#bb"), queues=["other", "mails"])

        stats = await queue.stats()
        assert {name: each.ready for name, each in stats.items()} == ({"mails": 1} if before else {})

    @needs(QueueStore)
    async def test_a_queued_message_ended_twice_within_a_block_was_there_once(self, stores: Stores) -> None:
        """Discarded, cancelled, or released with its key."""
        queue = stores[QueueStore]
        await queue.add(queued("m-1", key="a"), queues=["mails"])
        await queue.add(queued("m-2", key="a"), queues=["mails"])
        [held] = await queue.lease({"mails": 1}, lease=3600)
        await queue.discard(held, hold_key=True)
        await queue.add(queued("m-3"), queues=["mails"])
        [leased] = await queue.lease({"mails": 1}, lease=3600)

        async with stores.storage.unit_of_work():
            told = [
                [await queue.discard(leased) for _ in range(2)],
                [await queue.cancel("mails", "m-2") for _ in range(2)],
                [await queue.release_key("mails", "a") for _ in range(2)],
            ]

        assert told == [[True, False]] * 3
        assert dict(await queue.stats()) == {}

    @needs(QueueStore)
    async def test_a_discarded_message_is_queued_again_within_a_block(self, stores: Stores) -> None:
        """With other content, also for later; it is another message."""
        queue = stores[QueueStore]
        await queue.add(queued("m-1", key="a", fingerprint="kit.Told@1#aa"), queues=["mails"])
        [leased] = await queue.lease({"mails": 1}, lease=3600)

        async with stores.storage.unit_of_work():
            assert await queue.discard(leased)
            await queue.add(queued("m-1", key="a", fingerprint="kit.Told@1#bb"), queues=["mails"])

        [again] = await queue.lease({"mails": 1}, lease=3600)
        assert (again.message.fingerprint, again.attempt) == ("kit.Told@1#bb", 1)

    @needs(DeadLetterStore)
    async def test_a_letter_added_twice_within_a_block_is_one(self, stores: Stores) -> None:
        """With the attempts of both, and of what was there before."""
        letters = stores[DeadLetterStore]
        await letters.add(letter("l-1", attempts=1))

        async with stores.storage.unit_of_work():
            await letters.add(letter("l-1", attempts=2))
            await letters.add(letter("l-1", attempts=4))

        found = await letters.get("l-1")
        assert found is not None
        assert found.attempts == 7

    @needs(EventLog)
    async def test_a_block_that_is_cancelled_before_its_turn_holds_up_nobody(self, stores: Stores) -> None:
        """Those before it and after it commit."""
        log = stores[EventLog]

        async def work(number: int) -> None:
            async with stores.storage.unit_of_work():
                await log.append([appends("orders-1", record(f"m-{number}"))])
                await turns(3)

        working = [asyncio.create_task(work(number)) for number in range(8)]
        await turns(2)
        for number in (1, 4, 5):
            working[number].cancel()
        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(*working, return_exceptions=True)

        done = {f"m-{number}" for number, each in enumerate(outcomes) if each is None}
        assert done >= {f"m-{number}" for number in (0, 2, 3, 6, 7)}
        assert done <= set(await ids(log, "orders-1")) <= done | {"m-1", "m-4", "m-5"}
