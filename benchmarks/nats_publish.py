"""Fire and forget: a typed event to a typed handler in another process, beside nats-py's own `publish` of as many bytes.

A slice ends when the other process has handled the last one, so both sides count. Run it alone with
`python -m benchmarks.nats_publish`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import nats
from nats.aio.msg import Msg

from benchmarks.measure import Row, paired
from benchmarks.nats_common import PLACED, OrderPlaced, main, run_pinned, service, sizes
from catga_core import CatgaMediator

RAW = "bench.raw.event"
DONE = "bench.done"
COUNT = 5000


class Handled:
    """Counts what was handled, and tells the publisher of every `COUNT`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._handled = 0

    def count(self) -> None:
        """Count one."""
        self._handled += 1
        if self._handled % COUNT == 0:
            self._tell = asyncio.ensure_future(self._client.publish(DONE, b""))


async def count_order(event: OrderPlaced, handled: Handled) -> None:
    """Count an event."""
    handled.count()


async def listen(url: str) -> None:
    """Be the process that listens: by nats-py alone, and as a Catga service."""
    raw = await nats.connect(url)
    by_nats = Handled(raw)

    async def on_event(_: Msg) -> None:
        by_nats.count()

    await raw.subscribe(RAW, cb=on_event)
    await raw.flush()
    catga = service("listens", url)
    catga.add_singleton(Handled, Handled(raw))
    catga.add_handlers(count_order)
    async with catga.running():
        print("ready", flush=True)
        await asyncio.Event().wait()


async def measure(url: str, rounds: int) -> list[Row]:
    """Be the process that publishes."""
    async with service("publishes", url).running() as app:
        return await _measure(url, rounds, app.mediator)


async def _measure(url: str, rounds: int, mediator: CatgaMediator) -> list[Row]:
    _, _, size = sizes()
    payload = b"x" * size
    raw = await nats.connect(url)
    done = await raw.subscribe(DONE)
    await raw.flush()
    publish = mediator.publish

    async def by_nats() -> float:
        start = time.perf_counter()
        for _ in range(COUNT):
            await raw.publish(RAW, payload)
        await done.next_msg(timeout=30)
        return time.perf_counter() - start

    async def by_catga() -> float:
        start = time.perf_counter()
        for _ in range(COUNT):
            await publish(PLACED)
        await done.next_msg(timeout=30)
        return time.perf_counter() - start

    async def call_nats() -> float:
        start = time.perf_counter()
        for _ in range(COUNT):
            await raw.publish(RAW, payload)
        spent = time.perf_counter() - start
        await done.next_msg(timeout=30)
        return spent

    async def call_catga() -> float:
        start = time.perf_counter()
        for _ in range(COUNT):
            await publish(PLACED)
        spent = time.perf_counter() - start
        await done.next_msg(timeout=30)
        return spent

    rows: list[Row] = []
    for title, ours_, limit, goal in (
        ("publish over NATS, until handled in another process", by_catga, by_nats, ">= 0.9"),
        ("publish over NATS, the publisher's call alone", call_catga, call_nats, ""),
    ):
        ratio, our_seconds, limit_seconds = await paired(ours_, limit, rounds=rounds)
        rows.append(Row(title, ratio, COUNT / our_seconds, COUNT / limit_seconds, "events/s", goal))
    await raw.close()
    return rows


def run(rounds: int = 21) -> list[Row]:
    """Return the rows of the table; takes about a quarter of a second a round."""
    return run_pinned("benchmarks.nats_publish", rounds)


if __name__ == "__main__":
    main("benchmarks.nats_publish", listen, measure, rounds=21)
