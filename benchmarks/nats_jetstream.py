"""JetStream: publish, consume and relay durable messages, next to nats-py and FastStream on the same server.

Client and server share one CPU, as in the other benchmarks over NATS, and the server keeps its streams in files. The raw client
publishes into the same stream, with as many bytes and with a `Nats-Msg-Id`, without which the server would not deduplicate and
would do less. Run it alone with `python -m benchmarks.nats_jetstream`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import structlog
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from benchmarks.measure import Row, paired, table
from benchmarks.nats_common import ITEMS, Item
from catga_core import CatgaContainer, CatgaMediator, CatgaOptions, Event, add_catga, message
from catga_core.interfaces.health import Health
from catga_core.reliability import OutboxOptions, QueueOptions, add_outbox, add_queues, ordered_by
from catga_nats import NatsOptions, add_nats_catga
from catga_sqlite import SqliteOptions, add_sqlite_catga
from catga_testing.servers import NatsServer

EVENTS = "catga_events"
SUBJECT = "catga.js.event"
SEQUENTIAL = 400
PUBLISHED = 256 * 10
AT_ONCE = 256
CONSUMED = 4096
IN_FLIGHT = 64
RELAYED = 64 * 32


@message(delivery="at_least_once")
class OrderStored(Event, frozen=True):
    """Published only; a consumer that nobody reads keeps it in the stream."""

    order_id: str
    customer_id: str
    items: list[Item]


@message(delivery="at_least_once")
class OrderShipped(Event, frozen=True):
    """Handled by the container's consumer."""

    order_id: str
    customer_id: str
    items: list[Item]


@message(delivery="at_least_once")
class OrderPacked(Event, frozen=True):
    """The same, fetched by nats-py."""

    order_id: str
    customer_id: str
    items: list[Item]


@ordered_by(lambda event: event.order_id)
@message(delivery="at_least_once")
class OrderRelayed(Event, frozen=True):
    """Relayed by the outbox; each has a key of its own, so that none waits for another."""

    order_id: str
    customer_id: str
    items: list[Item]


def event(cls: type[Any], number: int = 1) -> Any:
    return cls(f"order-{number:012}", "customer-000000000001", ITEMS)


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
                await asyncio.sleep(0)
        return time.perf_counter() - self._began


def container(url: str, **options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="bench", max_concurrent_requests=1000, **options))
    add_nats_catga(catga, NatsOptions(url, enable_jetstream=True))
    return catga


async def by_callers(call: Callable[[], Awaitable[object]], *, callers: int, count: int) -> None:
    async def caller() -> None:
        for _ in range(count // callers):
            await call()

    await asyncio.gather(*(caller() for _ in range(callers)))


class Raw:
    """What one writes with nats-py alone."""

    def __init__(self, client: Any, size: int) -> None:
        self._client = client
        self._payload = b"x" * size
        self._ids = (f"{os.getpid()}-{time.time_ns()}-{number:012}" for number in itertools.count())
        self.js: JetStreamContext = client.jetstream()

    async def publish(self, subject: str) -> None:
        await self.js.publish(subject, self._payload, headers={"Nats-Msg-Id": next(self._ids)})

    async def publish_at_once(self, subjects: Sequence[str], *, window: int) -> None:
        js = self._client.jetstream(publish_async_max_pending=window)
        payload, ids = self._payload, self._ids
        futures = [await js.publish_async(each, payload, headers={"Nats-Msg-Id": next(ids)}) for each in subjects]
        await js.publish_async_completed()
        for each in futures:
            each.result()

    async def settled(self, consumer: str, *, stream: str = EVENTS) -> bool:
        """Return whether a consumer has nothing left, neither new nor unacknowledged."""
        answer = await self._client.request(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", b"", timeout=5)
        info = json.loads(answer.data)
        return bool(info["num_pending"] == 0 and info["num_ack_pending"] == 0)

    async def keep(self, durable: str, filter_subject: str) -> None:
        """Create a consumer, so that the stream keeps what it takes."""
        config = ConsumerConfig(durable_name=durable, filter_subject=filter_subject, ack_policy="explicit")
        await self.js.add_consumer(EVENTS, config)

    async def bytes_of_one(self) -> int:
        """Return how many bytes the last message of the stream has, headers included."""
        info = await self.js.stream_info(EVENTS)
        assert info.state.messages == 1
        return info.state.bytes


async def publishes(raw: Raw, mediator: CatgaMediator, rounds: int) -> list[Row]:
    """`publish` of a durable event, acknowledged by the server, and nats-py's own `publish` and `publish_async`."""
    stored = event(OrderStored)
    subject = f"{SUBJECT}.OrderStored.any"

    async def publish() -> None:
        await mediator.publish(stored)

    async def timed(work: Callable[[], Awaitable[None]]) -> float:
        await raw.js.purge_stream(EVENTS)
        began = time.perf_counter()
        await work()
        return time.perf_counter() - began

    async def in_turn() -> None:
        await by_callers(publish, callers=1, count=SEQUENTIAL)

    async def raw_in_turn() -> None:
        await by_callers(lambda: raw.publish(subject), callers=1, count=SEQUENTIAL)

    async def at_once() -> None:
        await by_callers(publish, callers=AT_ONCE, count=PUBLISHED)

    async def raw_at_once() -> None:
        await raw.publish_at_once([subject] * PUBLISHED, window=AT_ONCE)

    rows: list[Row] = []
    for title, ours_, limit_, count, goal in (
        ("publish to JetStream / nats-py's publish, one caller", in_turn, raw_in_turn, SEQUENTIAL, ">= 0.95"),
        (
            f"publish to JetStream / nats-py's publish_async, {AT_ONCE} in flight",
            at_once,
            raw_at_once,
            PUBLISHED,
            ">= 1.2",
        ),
    ):
        ratio, ours, limit = await paired(
            lambda work=ours_: timed(work),  # type: ignore[misc]
            lambda work=limit_: timed(work),  # type: ignore[misc]
            rounds=rounds,
        )
        rows.append(Row(title, ratio, count / ours, count / limit, "events/s", goal))
    return rows


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
        from pydantic import BaseModel

        class Line(BaseModel):
            sku: str
            quantity: int
            price: str

        class Order(BaseModel):
            order_id: str
            customer_id: str
            items: list[Line]

        broker = NatsBroker(self._url, logger=None)
        progress = self._progress

        async def pack(order: Order) -> None:
            progress.one()

        # What is postponed cannot be resolved here, because the models are local.
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
            durable_name="bench-faststream", filter_subject="bench.faststream.stored", ack_policy="explicit"
        )
        await self._raw.js.add_consumer("bench_faststream", config)

    async def by_faststream(self) -> float:
        order = {
            "order_id": "order-000000000001",
            "customer_id": "customer-000000000001",
            "items": [{"sku": each.sku, "quantity": each.quantity, "price": str(each.price)} for each in ITEMS],
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


@asynccontextmanager
async def relaying(url: str, catga: CatgaContainer) -> AsyncGenerator[tuple[Any, Callable[[], Health]]]:
    add_outbox(catga, OutboxOptions(batch_size=IN_FLIGHT))
    async with catga.running() as app:
        yield app, app.outbox_relay.health


async def relays(raw: Raw, url: str, rounds: int) -> list[Row]:
    """The outbox relay, from the commit until the outbox knows all messages as sent, and nats-py's `publish_async`.

    The raw client publishes from memory, with as many in flight; the relay also reads each message from its store and marks it as
    sent there, with `synchronous=FULL` in SQLite.
    """
    rows: list[Row] = []
    subjects = [f"{SUBJECT}.OrderRelayed.p{number % 64}" for number in range(RELAYED)]
    await raw.keep("bench-relayed", f"{SUBJECT}.OrderRelayed.*")
    with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
        memory, sqlite = container(url), container(url)
        add_sqlite_catga(sqlite, SqliteOptions(Path(folder) / "outbox.db", synchronous="FULL"))
        for title, catga in (("memory", memory), ("SQLite", sqlite)):
            async with relaying(url, catga) as (app, health):

                async def by_relay(app: Any = app, health: Callable[[], Health] = health) -> float:
                    await raw.js.purge_stream(EVENTS)
                    sent = health().details["sent"]
                    async with app.unit_of_work():
                        for number in range(RELAYED):
                            await app.mediator.publish(event(OrderRelayed, number))
                    began = time.perf_counter()
                    while (details := health().details)["sent"] < sent + RELAYED or details["in_flight"]:
                        await asyncio.sleep(0.001)
                    return time.perf_counter() - began

                async def by_nats() -> float:
                    await raw.js.purge_stream(EVENTS)
                    began = time.perf_counter()
                    await raw.publish_at_once(subjects, window=IN_FLIGHT)
                    return time.perf_counter() - began

                ratio, ours, limit = await paired(by_relay, by_nats, rounds=rounds)
            name = f"outbox in {title} to JetStream / nats-py's publish_async, {IN_FLIGHT} in flight"
            rows.append(Row(name, ratio, RELAYED / ours, RELAYED / limit, "events/s", ">= 0.7"))
    return rows


async def measure(url: str, rounds: int, only: str = "") -> list[Row]:
    """Measure every row.

    Args:
        url: The server.
        rounds: How many slices of ours.
        only: One of `publish`, `consume` and `relay`; empty for all.
    """
    catga = container(url)
    add_queues(catga)
    rows: list[Row] = []
    async with catga.running(roles={"admin"}) as app:
        client = await nats.connect(url)
        raw = Raw(client, 0)
        await raw.keep("bench-stored", f"{SUBJECT}.OrderStored.any")
        await app.mediator.publish(event(OrderStored))
        of_ours = await raw.bytes_of_one()
        await raw.js.purge_stream(EVENTS)
        await raw.publish(f"{SUBJECT}.OrderStored.any")
        raw = Raw(client, of_ours - await raw.bytes_of_one())
        if only in {"", "publish"}:
            rows += await publishes(raw, app.mediator, rounds)
        if only in {"", "consume"}:
            rows += await consumes(raw, app.mediator, url, rounds)
        if only in {"", "relay"}:
            rows += await relays(raw, url, rounds)
        await client.close()
    return rows


def run(rounds: int = 9, only: str = "") -> list[Row]:
    """Measure every row on a server of our own.

    Args:
        rounds: How many slices of ours.
        only: One of `publish`, `consume` and `relay`; empty for all.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with NatsServer(jetstream=True) as server:
            return asyncio.run(measure(server.url, rounds, only))
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", choices=("", "publish", "consume", "relay"))
    arguments = parser.parse_args()
    print(table(run(arguments.rounds, arguments.only)))
