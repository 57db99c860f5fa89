"""Dispatch within a process: `send`, behaviors, scopes and `publish`, each beside the same written by hand."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.measure import Row, paired, table
from benchmarks.subjects import (
    Bare,
    BareHandler,
    Counter,
    CountOne,
    CountThree,
    CountTwo,
    First,
    Happened,
    Plain,
    PlainHandler,
    PlainSurrounded,
    PlainSurroundedHandler,
    Scoped,
    ScopedHandler,
    Second,
    Surrounded,
    SurroundedHandler,
    Third,
    Work,
    by_hand,
    nested_by_hand,
    published_by_hand,
    scoped_by_hand,
    timed_by_hand,
)
from catga_core import CatgaContainer, CatgaOptions, add_catga

_SLICE = 3_000


def compose() -> CatgaContainer:
    """Return a container with every benchmarked pipeline."""
    catga = add_catga(CatgaOptions(service_name="bench"))
    catga.add_scoped(Work)
    catga.add_singleton(Counter)
    catga.add_handlers(BareHandler, PlainHandler, SurroundedHandler, PlainSurroundedHandler, ScopedHandler)
    catga.add_handlers(CountOne, CountTwo, CountThree)
    for behavior in (First, Second, Third):
        catga.add_behavior(behavior, when=lambda described: described.cls in {Surrounded, PlainSurrounded})
    return catga


def slice_of(
    call: Callable[[Any], Awaitable[Any]], message: Any, count: int = _SLICE
) -> Callable[[], Awaitable[float]]:
    """Return one slice of a measurement: so many calls, one after the other; it gives its seconds of CPU time."""

    async def run() -> float:
        started = time.process_time_ns()
        for _ in range(count):
            await call(message)
        return (time.process_time_ns() - started) / 1e9

    return run


async def run(rounds: int = 41) -> list[Row]:
    """Measure everything.

    Args:
        rounds: Paired slices for each row.
    """
    rows: list[Row] = []
    async with compose().running() as app:
        mediator = app.mediator
        bare = BareHandler()
        hand = by_hand(bare)
        counter = Counter()
        three = (CountOne(counter), CountTwo(counter), CountThree(counter))
        cases: list[tuple[str, Any, Any, Any, str]] = [
            ("send / hand-written try and wrap", mediator.send, hand, Bare(1), "<= 2.4"),
            ("sender(Bare) / hand-written", mediator.sender(Bare), hand, Bare(1), "<= 2.4"),
            (
                "send, context=False / hand-written",
                mediator.send,
                by_hand(PlainHandler()),
                Plain(1),
                "<= 1.5",
            ),
            (
                "send through 3 behaviors / 3 nested awaits",
                mediator.send,
                nested_by_hand(by_hand(SurroundedHandler())),
                Surrounded(1),
                "<= 1.5",
            ),
            (
                "send through 3 behaviors, context=False / 3 nested awaits",
                mediator.send,
                nested_by_hand(by_hand(PlainSurroundedHandler())),
                PlainSurrounded(1),
                "<= 1.5",
            ),
            (
                "send(timeout=) / hand-written with asyncio.timeout",
                functools.partial(mediator.send, timeout=5.0),
                timed_by_hand(bare),
                Bare(1),
                "<= 2.5",
            ),
            ("send in a scope, new handler / by hand", mediator.send, scoped_by_hand, Scoped(1), "<= 2.5"),
            (
                "publish to 3 / 3 awaits in try",
                mediator.publish,
                published_by_hand(three),
                Happened(1),
                "<= 2.5",
            ),
        ]
        for name, ours, limit, message, goal in cases:
            ratio, our_seconds, limit_seconds = await paired(
                slice_of(ours, message), slice_of(limit, message), rounds=rounds
            )
            rows.append(
                Row(name, 1 / ratio, our_seconds / _SLICE * 1e9, limit_seconds / _SLICE * 1e9, "ns", goal)
            )
        rows.append(
            await _memory(
                "peak memory of a coroutine that sends / that awaits the handler",
                mediator.send,
                bare.handle,
                lambda: Bare(1),
            )
        )
        rows.append(
            await _memory(
                "peak memory through 3 behaviors / 3 nested awaits",
                mediator.send,
                nested_by_hand(by_hand(SurroundedHandler())),
                lambda: Surrounded(1),
            )
        )
        rows.append(await _left_over(mediator.send, Bare(1)))
    return rows


async def _peak(call: Callable[[Any], Awaitable[Any]], make: Callable[[], Any]) -> int:
    async def sends() -> Any:
        return await call(make())

    for _ in range(100):
        await sends()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    kept = await sends()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    del kept
    return peak


async def _memory(name: str, ours: Any, limit: Any, make: Callable[[], Any]) -> Row:
    our_peak, limit_peak = await _peak(ours, make), await _peak(limit, make)
    return Row(name, our_peak / limit_peak, our_peak, limit_peak, "B", "<= 2.0")


async def _left_over(ours: Any, message: Any) -> Row:
    import sys

    for _ in range(1_000):
        await ours(message)
    gc.collect()
    before = sys.getallocatedblocks()
    gc.disable()
    for _ in range(100_000):
        await ours(message)
    cycles = gc.collect()
    gc.enable()
    left = sys.getallocatedblocks() - before
    return Row(
        "blocks left after 100,000, cyclic objects found",
        float(left),
        float(left),
        float(cycles),
        "",
        "<= 50",
    )


def main() -> None:
    """Print the table."""
    print(table(asyncio.run(run())))


if __name__ == "__main__":
    main()
