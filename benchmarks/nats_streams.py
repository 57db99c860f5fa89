"""Streams of answers: typed items with credit, beside as many bytes that nats-py sends with the same credit.

Run it alone with `python -m benchmarks.nats_streams`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.measure import Row, paired
from benchmarks.nats_common import ACCEPTED, OrderAccepted, main, run_pinned, service, sizes
from catga_core import StreamQuery
from catga_nats import NatsOptions

RAW = "bench.raw.stream"
ITEMS = 4096
WINDOW = NatsOptions().stream_window


class ListOrders(StreamQuery[OrderAccepted], frozen=True):
    count: int


async def list_orders(message: ListOrders) -> AsyncIterator[OrderAccepted]:
    """Yield the same order again and again, without waiting."""
    for _ in range(message.count):
        yield ACCEPTED


class RawStreams:
    """What one would write with nats-py alone: as many items as there is credit for, more with each message of credit."""

    def __init__(self, client: Client, item: bytes) -> None:
        self._client = client
        self._item = item

    async def answer(self, query: Msg) -> None:
        """Send the items of one query."""
        credit = asyncio.Semaphore(WINDOW)
        inbox = self._client.new_inbox()

        async def on_credit(message: Msg) -> None:
            for _ in range(int(message.data)):
                credit.release()

        subscription = await self._client.subscribe(inbox, cb=on_credit)
        for _ in range(int(query.data)):
            await credit.acquire()
            await self._client.publish(query.reply, self._item, reply=inbox)
        await subscription.unsubscribe()


async def answer(url: str) -> None:
    """Be the process that answers: by nats-py alone, and as a Catga service."""
    _, size, _ = sizes()
    raw = await nats.connect(url)
    streams = RawStreams(raw, b"x" * size)
    tasks: set[asyncio.Task[None]] = set()

    async def on_query(query: Msg) -> None:
        task = asyncio.create_task(streams.answer(query))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await raw.subscribe(RAW, cb=on_query)
    await raw.flush()
    catga = service("lists", url)
    catga.add_handlers(list_orders)
    async with catga.running():
        print("ready", flush=True)
        await asyncio.Event().wait()


async def measure(url: str, rounds: int) -> list[Row]:
    raw = await nats.connect(url)

    async def by_nats() -> float:
        inbox = raw.new_inbox()
        subscription = await raw.subscribe(inbox)
        start = time.perf_counter()
        await raw.publish(RAW, b"%d" % ITEMS, reply=inbox)
        received = 0
        async for message in subscription.messages:
            received += 1
            if received == ITEMS:
                break
            if received % (WINDOW // 2) == 0:
                await raw.publish(message.reply, b"%d" % (WINDOW // 2))
        took = time.perf_counter() - start
        await subscription.unsubscribe()
        return took

    async with service("reads", url).running() as app:

        async def by_catga() -> float:
            start = time.perf_counter()
            received = 0
            async for _ in app.mediator.stream(ListOrders(ITEMS)):
                received += 1
            assert received == ITEMS
            return time.perf_counter() - start

        ratio, ours, limit = await paired(by_catga, by_nats, rounds=rounds)
    await raw.close()
    title = f"stream over NATS / raw messages, {WINDOW} items of credit"
    return [Row(title, ratio, ITEMS / ours, ITEMS / limit, "items/s", ">= 1.0")]


def run(rounds: int = 11) -> list[Row]:
    """Return the rows of the table; takes less than a second a round."""
    return run_pinned("benchmarks.nats_streams", rounds)


if __name__ == "__main__":
    main("benchmarks.nats_streams", answer, measure, rounds=11)
