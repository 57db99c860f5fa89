"""Order per key: one message of a key at a time, whoever handles it."""

from __future__ import annotations

import msgspec

from catga_core.interfaces import DeadLetterFilter
from catga_core.reliability import OnKeyFailure, QueueOptions
from catga_testing.contracts.durable.base import (
    QUICK,
    DurableContractBase,
    Moved,
    Seen,
    Start,
    letters,
    refused,
)
from catga_testing.waiting import eventually

PARKING: QueueOptions = msgspec.structs.replace(QUICK, on_failure=OnKeyFailure.PARK_KEY)


class KeysContract(DurableContractBase):
    """Events of one key are handled one after the other, different keys at the same time."""

    async def test_replicas_keep_the_order_of_each_key(self, start: Start, seen: Seen) -> None:
        """Also where attempts fail."""
        processes = [await start("follow") for _ in range(3)]
        for key in ("a", "d"):
            seen.fail((key, 3), RuntimeError("once"), RuntimeError("twice"))

        for number in range(12):
            for key in "abcdef":
                await processes[number % 3].app.mediator.publish(Moved(key, number))

        await seen.until(lambda: len(seen.had) >= 72, within=30.0)
        for key in "abcdef":
            assert [number for thing, number in seen.had if thing == key] == list(range(12))

    async def test_a_slow_key_holds_up_no_other(self, start: Start, seen: Seen) -> None:
        """As long as there are free slots."""
        process = await start("follow")
        gate = seen.hold(("slow", 0))

        for number in range(5):
            await process.app.mediator.publish(Moved("slow", number))
            await process.app.mediator.publish(Moved("quick", number))

        await seen.until(lambda: ("quick", 4) in seen.had)
        assert [each for each in seen.attempts if each[0] == "slow"] == [("slow", 0)]
        gate.set()
        await seen.until(lambda: ("slow", 4) in seen.had)

    async def test_later_messages_go_on_after_a_dead_letter(self, start: Start, seen: Seen) -> None:
        """With `OnKeyFailure.SKIP`, the default."""
        process = await start("follow")
        seen.fail(("a", 1), refused())

        for number in range(4):
            await process.app.mediator.publish(Moved("a", number))

        await seen.until(lambda: ("a", 3) in seen.had)
        assert seen.had == [("a", 0), ("a", 2), ("a", 3)]
        await letters(process, 1)

    async def test_a_parked_key_waits_for_the_replay(self, start: Start, seen: Seen) -> None:
        """Later messages of the key are handled after it, in order; other keys go on meanwhile."""
        process = await start("follow", options=PARKING)
        seen.fail(("a", 1), refused())

        for number in range(4):
            await process.app.mediator.publish(Moved("a", number))
            await process.app.mediator.publish(Moved("b", number))

        [letter] = await letters(process, 1)
        await seen.until(lambda: ("b", 3) in seen.had)
        for number in range(4, 6):
            await process.app.mediator.publish(Moved("a", number))
            await process.app.mediator.publish(Moved("b", number))
        await seen.until(lambda: ("b", 5) in seen.had)
        assert [number for key, number in seen.had if key == "a"] == [0]
        assert (letter.queue, letter.key) == ("event:kit:follow", "a")

        assert (await process.app.dead_letter_queue.replay(letter.id)).is_success

        await seen.until(lambda: ("a", 5) in seen.had)
        assert [number for key, number in seen.had if key == "a"] == [0, 1, 2, 3, 4, 5]
        assert await process.app.dead_letters.count() == 0

    async def test_a_failed_replay_keeps_the_key_parked(self, start: Start, seen: Seen) -> None:
        """Its letter is updated."""
        process = await start("follow", options=PARKING)
        seen.fail(("a", 0), refused(), refused("still none"))
        for number in range(2):
            await process.app.mediator.publish(Moved("a", number))
        [letter] = await letters(process, 1)

        assert (await process.app.dead_letter_queue.replay(letter.id)).error.code == "REFUSED"

        [updated] = await letters(process, 1)
        assert (updated.message, updated.attempts, updated.replays) == ("still none", 2, 1)
        assert seen.had == []
        assert (await process.app.dead_letter_queue.replay(letter.id)).is_success
        await seen.until(lambda: seen.had == [("a", 0), ("a", 1)])

    async def test_a_purged_letter_releases_its_key(self, start: Start, seen: Seen) -> None:
        """The others are handled without it."""
        process = await start("follow", options=PARKING)
        seen.fail(("a", 0), refused())
        for number in range(3):
            await process.app.mediator.publish(Moved("a", number))
        await letters(process, 1)

        assert await process.app.dead_letter_queue.purge(DeadLetterFilter(key="a")) == 1

        await seen.until(lambda: seen.had == [("a", 1), ("a", 2)])

    async def test_a_held_key_degrades_health(self, start: Start, seen: Seen) -> None:
        """Until it is released."""
        options = msgspec.structs.replace(PARKING, alarm_seconds=0.2)
        process = await start("follow", options=options)
        seen.fail(("a", 0), refused())
        await process.app.mediator.publish(Moved("a", 0))
        [letter] = await letters(process, 1)

        await eventually(lambda: process.catga.health()["queue_monitor"].status == "degraded")
        await process.app.dead_letter_queue.replay(letter.id)
        await eventually(lambda: process.catga.health()["queue_monitor"].status == "healthy")
