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
from benchmarks.nats_common import PLACED, OrderPlaced, main, run_pinned, sizes, transport
from catga_core.context import begin_context
from catga_core.interfaces import Inbound, MessageContext
from catga_core.messages import message_type

RAW = "bench.raw.event"
DONE = "bench.done"
COUNT = 5000


class Handled:
    """Counts what was handled, and tells the publisher of every `COUNT`."""

    may_suspend = False

    def __init__(self, client: Any) -> None:
        self.message_type = message_type(OrderPlaced)
        self._client = client
        self._handled = 0

    async def handle(self, event: OrderPlaced, context: MessageContext) -> None:
        self.count()

    def count(self) -> None:
        self._handled += 1
        if self._handled % COUNT == 0:
            self._tell = asyncio.ensure_future(self._client.publish(DONE, b""))


async def listen(url: str) -> None:
    raw = await nats.connect(url)
    by_nats = Handled(raw)

    async def on_event(_: Msg) -> None:
        by_nats.count()

    await raw.subscribe(RAW, cb=on_event)
    await raw.flush()
    ours = transport(url)
    await ours.connect()
    await ours.serve(Inbound("bench", [], [Handled(raw)], 1000))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def measure(url: str, rounds: int) -> list[Row]:
    _, _, size = sizes()
    payload = b"x" * size
    raw = await nats.connect(url)
    ours = transport(url)
    await ours.connect()
    done = await raw.subscribe(DONE)
    await raw.flush()
    kind = message_type(OrderPlaced)

    async def by_nats() -> float:
        start = time.perf_counter()
        for _ in range(COUNT):
            await raw.publish(RAW, payload)
        await done.next_msg(timeout=30)
        return time.perf_counter() - start

    async def by_catga() -> float:
        start = time.perf_counter()
        for _ in range(COUNT):
            await ours.publish(kind, PLACED, begin_context())
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
            await ours.publish(kind, PLACED, begin_context())
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
    await ours.close()
    await raw.close()
    return rows


def run(rounds: int = 21) -> list[Row]:
    """Return the rows of the table; takes about a quarter of a second a round."""
    return run_pinned("benchmarks.nats_publish", rounds)


if __name__ == "__main__":
    main("benchmarks.nats_publish", listen, measure, rounds=21)
