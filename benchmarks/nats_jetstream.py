"""JetStream: publish, consume and relay durable messages, next to nats-py and FastStream on the same server.

Client and server share one CPU, as in the other benchmarks over NATS, and the server keeps its streams in files. The raw client
publishes into the same stream, with as many bytes and with a `Nats-Msg-Id`, without which the server would not deduplicate and
would do less. Run it alone with `python -m benchmarks.nats_jetstream`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable

import nats
import structlog

from benchmarks.jetstream_common import (
    AT_ONCE,
    EVENTS,
    SUBJECT,
    OrderStored,
    Raw,
    by_callers,
    container,
    event,
)
from benchmarks.jetstream_consume import consumes
from benchmarks.jetstream_relay import relays
from benchmarks.measure import Row, paired, table
from catga_core import CatgaMediator
from catga_core.reliability import add_queues
from catga_testing.servers import NatsServer

SEQUENTIAL = 400
PUBLISHED = 256 * 10


async def publishes(raw: Raw, mediator: CatgaMediator, rounds: int) -> list[Row]:
    """`publish` of a durable event, acknowledged by the server, and nats-py's own `publish` and `publish_async`."""
    stored = event(OrderStored)
    subject = f"{SUBJECT}.OrderStored.any"

    def publish() -> Awaitable[None]:
        return mediator.publish(stored)

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
