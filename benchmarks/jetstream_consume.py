"""Fetch, handle and acknowledge: a container, a fetch loop of nats-py, and FastStream's pull subscriber."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.jetstream_common import (
    AT_ONCE,
    EVENTS,
    IN_FLIGHT,
    SUBJECT,
    OrderPacked,
    OrderShipped,
    Raw,
    by_callers,
    container,
    event,
)
from benchmarks.measure import Row, paired
from benchmarks.nats_common import ITEMS
from catga_core import CatgaContainer, CatgaMediator
from catga_core.reliability import QueueOptions, add_queues

CONSUMED = 4096


class Progress:
    """Times a number of messages from the first one that is handled."""

    def __init__(self) -> None:
        self._left = 0
        self._done = asyncio.Event()
        self._began = 0.0

    def expect(self, count: int) -> None:
        self._left = count
        self._began = 0.0
        self._done.clear()

    def one(self) -> None:
        if not self._began:
            self._began = time.perf_counter()
        self._left -= 1
        if not self._left:
            self._done.set()

    async def seconds(self, acknowledged: Callable[[], Awaitable[bool]]) -> float:
        async with asyncio.timeout(60):
            await self._done.wait()
            while not await acknowledged():
                pass
        return time.perf_counter() - self._began


class Consuming:
    """The same number of messages, handled and acknowledged by a container, by a fetch loop, and by FastStream.

    Each slice begins with its messages in the stream and nothing that reads them; the time runs from the first message that is
    handled until the server counts all as acknowledged, so that neither's start counts.
    """

    def __init__(self, raw: Raw, mediator: CatgaMediator, url: str) -> None:
        self._raw = raw
        self._mediator = mediator
        self._url = url
        self._progress = Progress()
        self._consumer = ""

    def _app(self) -> CatgaContainer:
        catga = container(self._url)
        add_queues(catga, QueueOptions(concurrency=IN_FLIGHT))
        progress = self._progress

        async def ship(_event: OrderShipped) -> None:
            progress.one()

        catga.add_handlers(ship)
        return catga

    async def prepare(self) -> None:
        """Declare the consumers."""
        async with self._app().running():
            pass
        names = [each.name for each in await self._raw.js.consumers_info(EVENTS)]
        self._consumer = next(name for name in names if "ship" in name and name.endswith("-any"))
        await self._raw.keep("bench-raw", f"{SUBJECT}.OrderPacked.any")

    async def by_catga(self) -> float:
        await self._fill(OrderShipped)
        self._progress.expect(CONSUMED)
        async with self._app().running():
            return await self._progress.seconds(lambda: self._raw.settled(self._consumer))

    async def by_nats(self) -> float:
        await self._fill(OrderPacked)
        self._progress.expect(CONSUMED)
        subscription = await self._raw.js.pull_subscribe_bind("bench-raw", EVENTS)
        handled = 0
        while handled < CONSUMED:
            for each in await subscription.fetch(IN_FLIGHT):
                self._progress.one()
                await each.ack()
                handled += 1
        seconds = await self._progress.seconds(lambda: self._raw.settled("bench-raw"))
        await subscription.unsubscribe()
        return seconds

    async def _fill(self, cls: type[Any]) -> None:
        each = event(cls)
        await by_callers(lambda: self._mediator.publish(each), callers=AT_ONCE, count=CONSUMED)


class FastStreamConsuming:
    """FastStream's pull subscriber with the same batch; its messages are its own JSON, in a stream of the same kind."""

    def __init__(self, raw: Raw, url: str) -> None:
        self._raw = raw
        self._url = url
        self._progress = Progress()

    def _broker(self) -> Any:
        from faststream.nats import JStream, NatsBroker, PullSub

        from benchmarks.faststream_models import Order

        broker = NatsBroker(self._url, logger=None)
        progress = self._progress

        async def pack(order: Order) -> None:
            progress.one()

        # FastStream does not resolve a postponed annotation whose class is imported locally.
        pack.__annotations__["order"] = Order
        subscriber = broker.subscriber(
            "bench.faststream.stored",
            stream=JStream("bench_faststream", declare=False),
            durable="bench-faststream",
            pull_sub=PullSub(batch_size=IN_FLIGHT, timeout=1.0),
        )
        subscriber(pack)
        return broker

    async def prepare(self) -> None:
        await self._raw.js.add_stream(
            name="bench_faststream", subjects=["bench.faststream.stored"], retention="interest"
        )
        config = ConsumerConfig(
            durable_name="bench-faststream",
            filter_subject="bench.faststream.stored",
            ack_policy=AckPolicy.EXPLICIT,
        )
        await self._raw.js.add_consumer("bench_faststream", config)

    async def by_faststream(self) -> float:
        order = {
            "order_id": "order-000000000001",
            "customer_id": "customer-000000000001",
            "items": [
                {"sku": each.sku, "quantity": each.quantity, "price": str(each.price)} for each in ITEMS
            ],
        }
        payload = json.dumps(order).encode()
        for _ in range(CONSUMED // AT_ONCE):
            await asyncio.gather(
                *(
                    self._raw.js.publish(
                        "bench.faststream.stored", payload, headers={"content-type": "application/json"}
                    )
                    for _ in range(AT_ONCE)
                )
            )
        self._progress.expect(CONSUMED)
        broker = self._broker()
        await broker.start()
        try:
            return await self._progress.seconds(
                lambda: self._raw.settled("bench-faststream", stream="bench_faststream")
            )
        finally:
            await broker.stop()


async def consumes(raw: Raw, mediator: CatgaMediator, url: str, rounds: int) -> list[Row]:
    consuming = Consuming(raw, mediator, url)
    await consuming.prepare()
    ratio, ours, limit = await paired(consuming.by_catga, consuming.by_nats, rounds=rounds)
    title = f"fetch, handle and acknowledge / nats-py's fetch({IN_FLIGHT}) and ack"
    rows = [Row(title, ratio, CONSUMED / ours, CONSUMED / limit, "events/s", ">= 0.9")]
    try:
        import faststream  # noqa: F401
    except ImportError:
        print("FastStream is not installed: its JetStream consumer is not measured")
        return rows
    peer = FastStreamConsuming(raw, url)
    await peer.prepare()
    ratio, ours, limit = await paired(consuming.by_catga, peer.by_faststream, rounds=max(3, rounds // 2))
    title = f"fetch, handle and acknowledge / FastStream's pull subscriber, {IN_FLIGHT} in flight"
    rows.append(Row(title, ratio, CONSUMED / ours, CONSUMED / limit, "events/s", ">= 3"))
    return rows
