"""How streams of answers end, by whoever ends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from catga_core import CatgaError, ErrorCode, MessageContext
from catga_testing.clock import ManualClock
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.messages import CountTo, Unanswered
from catga_testing.contracts.transports.peers import Peer, Peers
from catga_testing.contracts.transports.streams import Counting

NEVER_STARTED = {"not_sent", "not_started"}


async def _gather(asking: Peer, query: CountTo, **given: Any) -> tuple[list[int], CatgaError]:
    """Return the items of a stream that fails, and its error."""
    got: list[int] = []
    with pytest.raises(CatgaError) as raised:
        async with asyncio.timeout(PATIENCE), aclosing(asking.stream(query, **given)) as numbers:
            async for number in numbers:
                got.append(number)  # noqa: PERF401 - a comprehension would lose them when the stream fails
    return got, raised.value


async def _two_then_refused(_query: CountTo, _context: MessageContext) -> AsyncGenerator[int, None]:
    yield 1
    yield 2
    raise CatgaError("no more", code="DRY", retryable=True, details={"after": 2})


class StreamEndsContract(TransportContractBase):
    """Whoever ends a stream, both sides know of it soon, and no end is silent."""

    @needs(streams=True)
    async def test_stream_nobody_answers_fails_at_once(self, peers: Peers) -> None:
        """HANDLER_NOT_FOUND, surely not started."""
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            with pytest.raises(CatgaError) as raised:
                await asking.collect(Unanswered())

        assert raised.value.code == ErrorCode.HANDLER_NOT_FOUND
        assert raised.value.details["outcome"] in NEVER_STARTED

    @needs(streams=True)
    async def test_error_between_items_arrives_after_them(self, peers: Peers) -> None:
        """With code, message, flag and details."""
        await peers.add("refusing", streams={CountTo: _two_then_refused})
        asking = await peers.add()

        got, error = await _gather(asking, CountTo(9))

        assert got == [1, 2]
        assert (error.code, error.message, error.retryable) == ("DRY", "no more", True)
        assert error.details == {"after": 2}

    @needs(streams=True)
    async def test_leaving_the_loop_ends_the_handler(self, peers: Peers) -> None:
        """Where it waits at a yield its generator is closed."""
        counting = Counting()
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        async with asyncio.timeout(PATIENCE), aclosing(asking.stream(CountTo(1_000_000))) as numbers:
            async for _ in numbers:
                break

        async with asyncio.timeout(SOON):
            await counting.until(ended=1)
        assert counting.ended[0] in {"GeneratorExit", "CancelledError"}

    @needs(streams=True)
    async def test_leaving_the_loop_ends_a_handler_that_waits(self, peers: Peers) -> None:
        """It is cancelled where it waits for something else."""
        counting = Counting(pause_after=1)
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        async with asyncio.timeout(PATIENCE), aclosing(asking.stream(CountTo(3))) as numbers:
            assert await anext(numbers) == 1

        async with asyncio.timeout(SOON):
            await counting.until(ended=1)
        assert counting.ended == ["CancelledError"]

    @needs(streams=True)
    async def test_cancelled_reader_ends_the_handler(self, peers: Peers) -> None:
        """The cancellation passes through to the reader."""
        counting = Counting(pause_after=2)
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()
        reading = asyncio.create_task(asking.collect(CountTo(3)))
        await counting.until(yielded=2)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        async with asyncio.timeout(SOON):
            await counting.until(ended=1)
        assert counting.ended == ["CancelledError"]

    @needs(streams=True)
    async def test_many_streams_that_are_left_at_once_all_end(self, peers: Peers) -> None:
        """Those that wait at a yield and those at work alike, whatever arrived with them."""
        counting = Counting(pause_after=2)
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        async def leave(last: int) -> None:
            async with asyncio.timeout(PATIENCE), aclosing(asking.stream(CountTo(last))) as numbers:
                assert await anext(numbers) == 1

        await asyncio.gather(*(leave(last) for last in (2, 1000) for _ in range(30)))

        await counting.until(ended=60)
        assert await asking.collect(CountTo(1)) == [1]

    @needs(streams=True)
    async def test_deadline_ends_both_sides(self, peers: Peers) -> None:
        """TIMEOUT for the one who asks, and the handler's generator ends."""
        counting = Counting(pause_after=1)
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()
        began = asyncio.get_running_loop().time()

        got, error = await _gather(asking, CountTo(3), timeout=0.3)

        assert got == [1]
        assert error.code == ErrorCode.TIMEOUT
        assert 0.25 <= asyncio.get_running_loop().time() - began < 0.3 + SOON
        async with asyncio.timeout(SOON):
            await counting.until(ended=1)

    @needs(streams=True)
    async def test_stream_whose_deadline_has_passed_is_not_sent(self, peers: Peers) -> None:
        """TIMEOUT at once."""
        counting = Counting()
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        _, error = await _gather(asking, CountTo(3), timeout=-1.0)

        assert error.code == ErrorCode.TIMEOUT
        assert error.details["outcome"] in NEVER_STARTED
        await asking.collect(CountTo(1))
        assert counting.opened == 1

    @needs(streams=True, remote=True)
    async def test_stream_query_that_arrives_after_its_deadline_is_not_started(self, peers: Peers) -> None:
        """The receiver looks at its own clock."""
        counting = Counting()
        await peers.add("ahead", streams={CountTo: counting}, clock=ManualClock(time.time() + 3600))
        asking = await peers.add()

        _, error = await _gather(asking, CountTo(3), timeout=60.0)

        assert error.code == ErrorCode.TIMEOUT
        assert counting.opened == 0

    @needs(streams=True)
    async def test_streams_over_the_limit_are_refused(self, peers: Peers) -> None:
        """CONCURRENCY_LIMITED; the next one fits when one has ended."""
        counting = Counting(pause_after=1)
        await peers.add("narrow", streams={CountTo: counting}, max_concurrent=1)
        asking = await peers.add()
        first = asyncio.create_task(asking.collect(CountTo(2)))
        await counting.until(yielded=1)

        _, error = await _gather(asking, CountTo(2))

        assert error.code == ErrorCode.CONCURRENCY_LIMITED
        counting.go_on()
        assert await first == [1, 2]
        await counting.until(ended=1)
        assert await asking.collect(CountTo(2)) == [1, 2]

    @needs(streams=True)
    async def test_handler_that_cancels_its_task_fails_its_stream_alone(self, peers: Peers) -> None:
        """HANDLER_FAILED; others go on."""

        async def cancelling(query: CountTo, _context: MessageContext) -> AsyncGenerator[int, None]:
            yield 1
            if query.last == 1:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            await asyncio.sleep(0)
            yield 2

        await peers.add("cancelling", streams={CountTo: cancelling})
        asking = await peers.add()

        _, error = await _gather(asking, CountTo(1))

        assert error.code == ErrorCode.HANDLER_FAILED
        assert await asking.collect(CountTo(2)) == [1, 2]

    @needs(streams=True)
    async def test_drain_of_the_responder_lets_streams_end(self, peers: Peers) -> None:
        """Within its timeout."""
        counting = Counting(pause_after=1)
        leaving = await peers.add("leaving", streams={CountTo: counting})
        asking = await peers.add()
        reading = asyncio.create_task(asking.collect(CountTo(500)))
        await counting.until(yielded=1)
        draining = asyncio.create_task(leaving.drain(5.0))
        await asyncio.sleep(0)
        counting.go_on()

        assert await reading == list(range(1, 501))
        await draining

    @needs(streams=True)
    async def test_stream_that_a_drain_cancels_fails(self, peers: Peers) -> None:
        """TRANSPORT_FAILED, with an unknown outcome."""
        counting = Counting(pause_after=1)
        leaving = await peers.add("leaving", streams={CountTo: counting})
        asking = await peers.add()
        reading = asyncio.create_task(_gather(asking, CountTo(2)))
        await counting.until(yielded=1)

        await leaving.drain(0.05)
        got, error = await reading

        assert got == [1]
        assert (error.code, error.details["outcome"]) == (ErrorCode.TRANSPORT_FAILED, "unknown")
        assert counting.ended == ["CancelledError"]

    @needs(streams=True)
    async def test_drain_of_the_asker_ends_its_streams(self, peers: Peers) -> None:
        """TRANSPORT_FAILED for the one who reads, and the handler's generator ends."""
        counting = Counting(pause_after=1)
        await peers.add("counting", streams={CountTo: counting})
        leaving = await peers.add("leaving")
        reading = asyncio.create_task(_gather(leaving, CountTo(2)))
        await counting.until(yielded=1)

        await leaving.drain(0.05)
        _, error = await reading

        assert error.code == ErrorCode.TRANSPORT_FAILED
        async with asyncio.timeout(SOON):
            await counting.until(ended=1)
        assert counting.ended == ["CancelledError"]

    @needs(streams=True)
    async def test_stream_before_the_start_is_not_sent(self, peers: Peers) -> None:
        """TRANSPORT_FAILED."""
        _, error = await _gather(peers.unconnected(), CountTo(1))

        assert error.code == ErrorCode.TRANSPORT_FAILED
        assert error.details["outcome"] in NEVER_STARTED
