"""Commands that are enqueued, now or for later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from catga_core import CatgaError, Priority, scheduled_id
from catga_core.interfaces import QueueState
from catga_testing.contracts.durable.base import (
    QUICK,
    Do,
    DurableContractBase,
    Seen,
    Start,
    letters,
    refused,
)
from catga_testing.contracts.kept import needs
from catga_testing.waiting import eventually


class EnqueueingContract(DurableContractBase):
    """Each is handled once by some process, at its time, unless it is cancelled."""

    async def test_a_command_is_handled_by_one_process(self, start: Start, seen: Seen) -> None:
        """Whichever enqueued it."""
        processes = [await start("do") for _ in range(3)]

        for number in range(30):
            await processes[number % 3].app.mediator.enqueue(Do(number))

        await seen.until(lambda: len(seen.had) >= 30)
        assert sorted(seen.had) == [("do", number) for number in range(30)]

    async def test_a_failed_command_is_retried(self, start: Start, seen: Seen) -> None:
        """And goes to the dead letters after the last attempt."""
        process = await start("do")
        seen.fail(("do", 1), RuntimeError("once"))
        seen.fail(("do", 2), *(RuntimeError("always") for _ in range(9)))

        await process.app.mediator.enqueue(Do(1))
        await process.app.mediator.enqueue(Do(2))

        [letter] = await letters(process, 1)
        await seen.until(lambda: ("do", 1) in seen.had)
        assert (letter.name, letter.attempts, letter.queue) == (
            "kit.durable.Do",
            3,
            "command:kit.durable.Do",
        )

    async def test_a_dead_command_is_replayed(self, start: Start, seen: Seen) -> None:
        """To its handler."""
        process = await start("do")
        seen.fail(("do", 1), refused())
        await process.app.mediator.enqueue(Do(1))
        [letter] = await letters(process, 1)

        result = await process.app.dead_letter_queue.replay(letter.id)

        assert result.is_success
        assert seen.had == [("do", 1)]
        assert await process.app.dead_letters.count() == 0

    @pytest.mark.parametrize("way", ["delay", "timedelta", "at"])
    async def test_a_delayed_command_is_handled_at_its_time(self, start: Start, seen: Seen, way: str) -> None:
        """Not before."""
        process = await start("do")
        loop = asyncio.get_running_loop()
        began = loop.time()
        if way == "at":
            await process.app.mediator.enqueue(Do(1), at=datetime.now(UTC) + timedelta(seconds=1.2))
        else:
            delay = 1.2 if way == "delay" else timedelta(seconds=1.2)
            await process.app.mediator.enqueue(Do(1), delay=delay)
        await process.app.mediator.enqueue(Do(2))

        await seen.until(lambda: len(seen.had) == 2)

        assert seen.had == [("do", 2), ("do", 1)]
        assert loop.time() - began >= 1.1

    async def test_a_time_that_is_over_is_due_at_once(self, start: Start, seen: Seen) -> None:
        """As if no time was given."""
        process = await start("do")

        await process.app.mediator.enqueue(Do(1), at=datetime.now(UTC) - timedelta(days=1))

        await seen.until(lambda: seen.had == [("do", 1)])

    async def test_a_cancelled_command_is_not_handled(self, start: Start, seen: Seen) -> None:
        """By the id that was returned, or by a message id of one's own."""
        process = await start("do")
        first = await process.app.mediator.enqueue(Do(1), delay=1.5)
        await process.app.mediator.enqueue(Do(2), delay=1.5, message_id="second")
        await process.app.mediator.enqueue(Do(3), delay=2.0)

        assert await process.app.mediator.cancel(first) is True
        assert await process.app.mediator.cancel(scheduled_id(Do, "second")) is True
        assert await process.app.mediator.cancel(first) is False

        await seen.until(lambda: ("do", 3) in seen.had)
        assert seen.had == [("do", 3)]

    async def test_a_scheduled_command_is_listed(self, start: Start) -> None:
        """With its time."""
        process = await start("do")
        before = datetime.now(UTC).timestamp()
        scheduled = await process.app.mediator.enqueue(Do(1), delay=60, message_id="later")

        async def listed() -> bool:
            page = await process.app.message_queues.find()
            return [each.message.context.message_id for each in page.entries] == ["later"]

        await eventually(listed)
        state = await process.app.mediator.enqueued(scheduled)
        assert state is not None
        assert state.state is QueueState.SCHEDULED
        assert 55 < state.due_at - before < 65

    async def test_a_result_is_kept_where_asked(self, start: Start, seen: Seen) -> None:
        """And can be had until it is pruned."""
        process = await start("do", options=msgspec.structs.replace(QUICK, keep_results=True))
        scheduled = await process.app.mediator.enqueue(Do(21))

        async def done() -> bool:
            state = await process.app.mediator.enqueued(scheduled)
            return state is not None and state.state is QueueState.DONE

        await eventually(done)
        state = await process.app.mediator.enqueued(scheduled)
        assert state is not None
        assert state.result is not None
        assert state.result.value == 42
        assert seen.had == [("do", 21)]

    async def test_a_repetition_is_not_enqueued_again(self, start: Start, seen: Seen) -> None:
        """Another command under its id is a conflict."""
        process = await start("do")
        for _ in range(2):
            await process.app.mediator.enqueue(Do(1), delay=1.0, message_id="same")
        with pytest.raises(CatgaError) as conflict:
            await process.app.mediator.enqueue(Do(2), delay=1.0, message_id="same")
        await process.app.mediator.enqueue(Do(3), delay=1.2)

        await seen.until(lambda: ("do", 3) in seen.had)

        assert conflict.value.code == "CONFLICT"
        assert seen.had == [("do", 1), ("do", 3)]

    async def test_commands_of_one_key_keep_their_order(self, start: Start, seen: Seen) -> None:
        """Over all processes."""
        processes = [await start("do") for _ in range(2)]
        seen.fail(("do", 2), RuntimeError("once"))

        for number in range(10):
            await processes[number % 2].app.mediator.enqueue(Do(number), key="a")

        await seen.until(lambda: len(seen.had) == 10)
        assert seen.had == [("do", number) for number in range(10)]

    @needs(strict_priority=True)
    async def test_urgent_commands_come_first(self, start: Start, seen: Seen) -> None:
        """Of those that are due."""
        enqueueing = await start("do", roles={"serve"})
        for number in range(3):
            await enqueueing.app.mediator.enqueue(Do(number))
        await enqueueing.app.mediator.enqueue(Do(10), priority=Priority.LOW)
        await enqueueing.app.mediator.enqueue(Do(20), priority=Priority.HIGH)

        await start("do", options=msgspec.structs.replace(QUICK, concurrency=1))

        await seen.until(lambda: len(seen.had) == 5)
        assert [number for _, number in seen.had] == [20, 0, 1, 2, 10]
