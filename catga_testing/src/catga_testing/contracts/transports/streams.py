"""Streams of answers: their items, their order, and how far a handler is ahead of the one who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal

from catga_core import MessageContext
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Changes
from catga_testing.contracts.transports.messages import Color, CountTo, ListWholes, Part, Whole
from catga_testing.contracts.transports.peers import Peers

MOST_AHEAD = 2048
"""Items that a handler may be ahead of the one who asks; a transport's own bound is far below."""


class Counting:
    """Answers `CountTo`, and shows how far it is and how it ended."""

    def __init__(self, *, pause_after: int | None = None) -> None:
        self.yielded: int = 0
        self.opened: int = 0
        self.ended: list[str] = []
        self.contexts: list[MessageContext] = []
        self._pause_after = pause_after
        self._go_on = asyncio.Event()
        self._changes = Changes()

    async def __call__(self, query: CountTo, context: MessageContext) -> AsyncGenerator[int, None]:
        """Yield the numbers from 1; wait for `go_on` after as many as was said."""
        self.opened += 1
        self.contexts.append(context)
        self._changes.tell()
        how = "finished"
        try:
            for number in range(1, query.last + 1):
                self.yielded = number
                self._changes.tell()
                yield number
                if number == self._pause_after:
                    await self._go_on.wait()
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            self.ended.append(how)
            self._changes.tell()

    def go_on(self) -> None:
        """End the pause."""
        self._go_on.set()

    async def until(self, *, opened: int = 0, yielded: int = 0, ended: int = 0) -> None:
        """Return when so many streams were opened and ended, and the last one has got so far.

        Args:
            opened: Streams.
            yielded: Items.
            ended: Streams.
        """
        await self._changes.until(
            lambda: self.opened >= opened and self.yielded >= yielded and len(self.ended) >= ended,
            lambda: f"{self.opened} streams were opened, {self.yielded} items yielded, ended: {self.ended}",
        )


async def own_wholes(query: ListWholes, _context: MessageContext) -> AsyncGenerator[Whole, None]:
    """Yield the query's own wholes."""
    for whole in query.wholes:
        yield whole


class StreamsContract(TransportContractBase):
    """Every item arrives once and in its order, and memory is bounded on both sides."""

    @needs(streams=True)
    async def test_streams_items_arrive_in_their_order(self, peers: Peers) -> None:
        """All of them, far more than may be out at once."""
        counting = Counting()
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        assert await asking.collect(CountTo(3000)) == list(range(1, 3001))
        assert await asking.collect(CountTo(0)) == []
        assert counting.ended == ["finished", "finished"]

    @needs(streams=True)
    async def test_streams_items_keep_their_types(self, peers: Peers) -> None:
        """Nested objects, decimals, times, enumerations and bytes."""
        part = Part("a-1", Decimal("12.50"), ["new"])
        made_at = datetime(2026, 11, 30, 8, 30, tzinfo=UTC)
        wholes = [
            Whole([part], {"first": part}, made_at, Color.GREEN, b"\x00\xff", note) for note in ("x", None)
        ]
        await peers.add("listing", streams={ListWholes: own_wholes})
        asking = await peers.add()

        assert await asking.collect(ListWholes(wholes)) == wholes

    @needs(streams=True)
    async def test_many_streams_at_once_do_not_mix(self, peers: Peers) -> None:
        """Each asker gets its own items."""
        await peers.add("counting", streams={CountTo: Counting()})
        asking = await peers.add()

        found = await asyncio.gather(*(asking.collect(CountTo(last)) for last in range(40)))

        assert found == [list(range(1, last + 1)) for last in range(40)]

    @needs(streams=True)
    async def test_exactly_one_replica_answers_a_stream(self, peers: Peers) -> None:
        """As with requests."""
        replicas = [Counting(), Counting()]
        for each in replicas:
            await peers.add("counting", streams={CountTo: each})
        asking = await peers.add()

        for _ in range(10):
            assert await asking.collect(CountTo(2)) == [1, 2]

        assert sum(each.opened for each in replicas) == 10

    @needs(streams=True)
    async def test_items_arrive_before_the_stream_ends(self, peers: Peers) -> None:
        """An item is not held back until there are more."""
        counting = Counting(pause_after=2)
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        async with asyncio.timeout(PATIENCE), aclosing(asking.stream(CountTo(3))) as numbers:
            assert [await anext(numbers), await anext(numbers)] == [1, 2]
            counting.go_on()
            assert [number async for number in numbers] == [3]

    @needs(streams=True)
    async def test_handler_waits_for_a_slow_reader(self, peers: Peers) -> None:
        """It is ahead by a bounded number of items, and goes on as they are consumed."""
        counting = Counting()
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()

        async with asyncio.timeout(PATIENCE), aclosing(asking.stream(CountTo(20_000))) as numbers:
            assert await anext(numbers) == 1
            ahead = await _at_rest(counting)
            assert ahead <= MOST_AHEAD
            for expected in range(2, ahead + 2):
                assert await anext(numbers) == expected
            assert ahead < await _at_rest(counting) <= 2 * ahead + 1

        await counting.until(ended=1)
        assert counting.ended != ["finished"]

    @needs(streams=True)
    async def test_context_travels_with_a_stream_query(self, peers: Peers) -> None:
        """Ids, headers, trace and deadline."""
        counting = Counting()
        await peers.add("counting", streams={CountTo: counting})
        asking = await peers.add()
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        context = asking.context(
            message_id="m-1",
            correlation_id="c-1",
            causation_id="m-0",
            headers={"tenant": "acme"},
            traceparent=trace,
        )

        await asking.collect(CountTo(1), context=context)

        (arrived,) = counting.contexts
        assert (arrived.message_id, arrived.correlation_id, arrived.causation_id) == ("m-1", "c-1", "m-0")
        assert (dict(arrived.headers), arrived.traceparent) == ({"tenant": "acme"}, trace)
        assert arrived.deadline is not None
        assert context.deadline is not None
        assert abs(arrived.deadline - context.deadline) < 0.01


async def _at_rest(counting: Counting) -> int:
    """Return how many items were yielded when no more are for a while."""
    async with asyncio.timeout(PATIENCE):
        while True:
            before = counting.yielded
            await asyncio.sleep(0.2)
            if counting.yielded == before:
                return before
