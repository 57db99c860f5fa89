"""FastStream on the same messages beside nats-py's own: what the goals against it are measured by.

Run it alone with `python -m benchmarks.nats_faststream`; it needs `faststream[nats]`.
"""

from __future__ import annotations

import asyncio
import logging
import time

import nats
from nats.aio.msg import Msg

from benchmarks.measure import Row, paired
from benchmarks.nats_common import main, run_pinned, sizes
from benchmarks.nats_rpc import RAW as RAW_REQUEST
from benchmarks.nats_rpc import timed

RAW_EVENT = "bench.faststream.raw"
DONE = "bench.faststream.done"
REQUESTS = 512
EVENTS = 1500


async def serve(url: str) -> None:
    """Be the process that answers and listens."""
    from faststream.nats import NatsBroker

    from benchmarks.faststream_models import Accepted, Order

    _, size, _ = sizes()
    raw = await nats.connect(url)
    reply = b"x" * size
    handled = {"raw": 0, "faststream": 0}

    async def count(which: str) -> None:
        handled[which] += 1
        if handled[which] % EVENTS == 0:
            await raw.publish(DONE, b"")

    async def on_request(request: Msg) -> None:
        await raw.publish(request.reply, reply)

    async def on_event(_: Msg) -> None:
        await count("raw")

    await raw.subscribe(RAW_REQUEST, cb=on_request)
    await raw.subscribe(RAW_EVENT, cb=on_event)
    broker = NatsBroker(url, logger=None)

    @broker.subscriber("bench.faststream.request")
    async def place(order: Order) -> Accepted:
        return Accepted(
            order_id=order.order_id,
            customer_id=order.customer_id,
            total="44.30",
            lines=2,
            remarks="ships tomorrow " * 4,
        )

    @broker.subscriber("bench.faststream.event")
    async def placed(order: Order) -> None:
        await count("faststream")

    await broker.start()
    await raw.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def measure(url: str, rounds: int) -> list[Row]:
    """Be the process that asks and publishes."""
    from faststream.nats import NatsBroker

    logging.disable(logging.INFO)
    request_size, _, event_size = sizes()
    raw = await nats.connect(url)
    done = await raw.subscribe(DONE)
    broker = NatsBroker(url, logger=None)
    await broker.start()
    order = {
        "order_id": "order-000000000001",
        "customer_id": "customer-000000000001",
        "items": [
            {"sku": "sku-0001", "quantity": 2, "price": "19.90"},
            {"sku": "sku-0002", "quantity": 1, "price": "4.50"},
        ],
    }
    payload = b"x" * request_size

    async def by_nats() -> None:
        await raw.request(RAW_REQUEST, payload, timeout=30)

    async def by_faststream() -> None:
        await broker.request(order, "bench.faststream.request", timeout=30)

    rows: list[Row] = []
    ratio, ours, limit = await paired(
        lambda: timed(by_faststream, at_once=64, count=REQUESTS),
        lambda: timed(by_nats, at_once=64, count=REQUESTS),
        rounds=rounds,
    )
    title = "FastStream: broker.request / raw request, 64 in flight"
    rows.append(Row(title, ratio, REQUESTS / ours, REQUESTS / limit, "requests/s"))

    async def publish_raw() -> float:
        start = time.perf_counter()
        for _ in range(EVENTS):
            await raw.publish(RAW_EVENT, b"x" * event_size)
        await done.next_msg(timeout=60)
        return time.perf_counter() - start

    async def publish_faststream() -> float:
        start = time.perf_counter()
        for _ in range(EVENTS):
            await broker.publish(order, "bench.faststream.event")
        await done.next_msg(timeout=60)
        return time.perf_counter() - start

    ratio, ours, limit = await paired(publish_faststream, publish_raw, rounds=rounds)
    title = "FastStream: publish / raw publish, until handled"
    rows.append(Row(title, ratio, EVENTS / ours, EVENTS / limit, "events/s"))
    await broker.stop()
    await raw.close()
    return rows


def run(rounds: int = 7) -> list[Row]:
    """Return the rows of the table; takes about three seconds a round."""
    return run_pinned("benchmarks.nats_faststream", rounds)


if __name__ == "__main__":
    main("benchmarks.nats_faststream", serve, measure, rounds=7)
