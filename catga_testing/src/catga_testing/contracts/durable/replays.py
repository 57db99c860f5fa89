"""Replays of dead letters of queues: many, in order, as dry runs, by another process."""

from __future__ import annotations

import asyncio

import msgspec

from catga_core.interfaces import DeadLetterFilter, DeadLetterSource
from catga_core.reliability import OnKeyFailure, QueueOptions
from catga_testing.contracts.durable.base import (
    QUICK,
    Do,
    DurableContractBase,
    Happened,
    Moved,
    Process,
    Seen,
    Start,
    letters,
    refused,
)

PARKING: QueueOptions = msgspec.structs.replace(QUICK, on_failure=OnKeyFailure.PARK_KEY)


async def poisoned(process: Process, seen: Seen, keys: str, each: int) -> None:
    """Have every event of some keys refused once, and wait for the dead letters."""
    for number in range(each):
        for key in keys:
            seen.fail((key, number), refused())
            await process.app.mediator.publish(Moved(key, number))
    await letters(process, len(keys) * each)


class ReplaysContract(DurableContractBase):
    """What went to the dead letters comes back, each message once and in the order of its key."""

    async def test_letters_of_many_keys_come_back_in_the_order_of_each(
        self, start: Start, seen: Seen
    ) -> None:
        """Several keys at the same time; nothing is left."""
        process = await start("follow")
        await poisoned(process, seen, "abc", 5)

        report = await process.app.dead_letter_queue.replay_all(max_concurrent=3)

        assert (report.succeeded, report.failed, report.held_back) == (15, {}, {})
        for key in "abc":
            assert [number for each, number in seen.had if each == key] == list(range(5))
        assert await process.app.dead_letters.count() == 0

    async def test_later_letters_of_a_key_wait_for_one_that_fails_again(
        self, start: Start, seen: Seen
    ) -> None:
        """They are reported as held back, and come with the next replay."""
        process = await start("follow")
        await poisoned(process, seen, "ab", 3)
        seen.fail(("a", 1), refused("still none"))

        report = await process.app.dead_letter_queue.replay_all(max_concurrent=2)

        assert report.succeeded == 4
        assert [error.message for error in report.failed.values()] == ["still none"]
        assert len(report.held_back) == 1
        assert (await process.app.dead_letter_queue.replay_all()).succeeded == 2
        assert [number for each, number in seen.had if each == "a"] == [0, 1, 2]

    async def test_two_processes_that_replay_at_once_handle_each_letter_once(
        self, start: Start, seen: Seen
    ) -> None:
        """In the order of its key."""
        one, other = await start("follow"), await start("follow")
        await poisoned(one, seen, "abc", 4)

        async with asyncio.timeout(30):
            while await one.app.dead_letters.count():
                await asyncio.gather(
                    *(each.app.dead_letter_queue.replay_all(max_concurrent=3) for each in (one, other))
                )

        for key in "abc":
            assert [number for each, number in seen.had if each == key] == list(range(4))

    async def test_all_parked_keys_go_on_after_a_replay(self, start: Start, seen: Seen) -> None:
        """What was parked behind each letter follows it, in order."""
        process = await start("follow", options=PARKING)
        for key in "abc":
            seen.fail((key, 0), refused())
        for number in range(4):
            for key in "abc":
                await process.app.mediator.publish(Moved(key, number))
        await letters(process, 3, DeadLetterFilter(source=DeadLetterSource.QUEUE))

        report = await process.app.dead_letter_queue.replay_all(max_concurrent=3)

        assert report.succeeded == 3
        await seen.until(lambda: len(seen.had) == 12)
        for key in "abc":
            assert [number for each, number in seen.had if each == key] == list(range(4))

    async def test_a_dry_run_leaves_letter_and_key_as_they_are(self, start: Start, seen: Seen) -> None:
        """The handler runs, and the parked messages wait on."""
        process = await start("follow", options=PARKING)
        seen.fail(("a", 0), refused())
        for number in range(2):
            await process.app.mediator.publish(Moved("a", number))
        [letter] = await letters(process, 1)

        dry = await process.app.dead_letter_queue.replay(letter.id, dry_run=True)

        assert dry.result.is_success
        assert seen.had == [("a", 0)]
        assert await letters(process, 1) == [letter]
        assert (await process.app.dead_letter_queue.replay(letter.id)).is_success
        await seen.until(lambda: seen.had == [("a", 0), ("a", 0), ("a", 1)])

    async def test_letters_of_commands_and_events_are_found_by_message(
        self, start: Start, seen: Seen
    ) -> None:
        """One letter for each handler that failed for it."""
        process = await start("note", "count", "do")
        for what in (("note", 1), ("count", 1), ("do", 1)):
            seen.fail(what, refused())
        await process.app.mediator.publish(Happened(1), message_id="event-1")
        await process.app.mediator.enqueue(Do(1), message_id="command-1")
        await letters(process, 3)

        assert len(await letters(process, 2, DeadLetterFilter(message_id="event-1"))) == 2
        report = await process.app.dead_letter_queue.replay_all(DeadLetterFilter(message_id="command-1"))

        assert report.succeeded == 1
        assert seen.had == [("do", 1)]
