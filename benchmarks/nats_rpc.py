"""Request and reply: a typed command and its typed result, beside nats-py's own `request` of as many bytes.

Run it alone with `python -m benchmarks.nats_rpc`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import nats
from nats.aio.msg import Msg

from benchmarks.measure import Row, paired
from benchmarks.nats_common import (
    ORDER,
    OrderAccepted,
    PlaceOrder,
    accept,
    main,
    run_pinned,
    service,
    sizes,
)
from catga_core import Command, message

RAW = "bench.raw"
# Before Python 3.12 each delivery costs a task that is not eager, 3.5 µs instead of 0.65.
_64_AT_ONCE = ">= 1.3" if sys.version_info >= (3, 12) else ">= 1.05"
CASES = ((1, 400, ">= 0.95"), (64, 4096, _64_AT_ONCE), (256, 4096, ">= 1.3"))


@message(name="PlaceOrderInTask")
class PlaceOrderInTask(PlaceOrder, frozen=True):
    """The same, to a handler that may wait and so gets a task of its own."""


async def place_order(message: PlaceOrder) -> OrderAccepted:
    """Answer at once."""
    return accept(message)


async def place_order_in_task(message: PlaceOrderInTask) -> OrderAccepted:
    """Answer after having given the others a turn."""
    await asyncio.sleep(0)
    return accept(message)


async def answer(url: str) -> None:
    """Be the process that answers: by nats-py alone, and as a Catga service."""
    _, size, _ = sizes()
    raw = await nats.connect(url)
    reply = b"x" * size

    async def on_request(request: Msg) -> None:
        await raw.publish(request.reply, reply)

    await raw.subscribe(RAW, cb=on_request)
    await raw.flush()
    catga = service("answers", url)
    catga.add_handlers(place_order, place_order_in_task)
    async with catga.running():
        print("ready", flush=True)
        await asyncio.Event().wait()


async def timed(call: Callable[[], Awaitable[object]], *, at_once: int, count: int) -> float:
    async def worker() -> None:
        for _ in range(count // at_once):
            await call()

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - start


async def measure(url: str, rounds: int) -> list[Row]:
    size, _, _ = sizes()
    payload = b"x" * size
    raw = await nats.connect(url)

    async def by_nats() -> None:
        await raw.request(RAW, payload, timeout=30)

    async with service("asks", url).running() as app:
        send = app.mediator.send

        def by_catga(order: Command[Any]) -> Callable[[], Awaitable[None]]:
            async def call() -> None:
                result = await send(order)
                assert result.is_success

            return call

        in_task = PlaceOrderInTask(ORDER.order_id, ORDER.customer_id, ORDER.items)
        rows: list[Row] = []
        for at_once, count, goal in CASES:
            for name, call, wanted in (
                ("", by_catga(ORDER), goal),
                (", handler in a task", by_catga(in_task), ""),
            ):
                ratio, our_seconds, limit_seconds = await paired(
                    lambda: timed(call, at_once=at_once, count=count),  # noqa: B023  # used within the round
                    lambda: timed(by_nats, at_once=at_once, count=count),  # noqa: B023
                    rounds=rounds,
                )
                title = f"send over NATS / raw request, {at_once} in flight{name}"
                rows.append(
                    Row(title, ratio, count / our_seconds, count / limit_seconds, "requests/s", wanted)
                )
    await raw.close()
    return rows


def run(rounds: int = 11) -> list[Row]:
    """Return the rows of the table; takes about two seconds a round."""
    return run_pinned("benchmarks.nats_rpc", rounds)


if __name__ == "__main__":
    main("benchmarks.nats_rpc", answer, measure, rounds=11)
