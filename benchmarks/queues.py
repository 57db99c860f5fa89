"""Queues over each store: how fast commands are enqueued, and events published and handled.

The limit of `enqueue` is a thread that commits each row to a lean table of sqlite3; that of events is the same handler called by
`publish` in the process, which keeps nothing. Run it alone with `python -m benchmarks.queues`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from benchmarks.measure import Row, paired, table
from benchmarks.sqlite_stores import Lean, LeanThread
from catga_core import CatgaApp, CatgaContainer, CatgaOptions, Command, Event, add_catga, message
from catga_core.reliability import QueueOptions, add_queues
from catga_sqlite import SqliteOptions, add_sqlite_catga
from catga_testing.servers import ValkeyServer

Synchronous = Literal["FULL", "NORMAL"]

AT_ONCE = 64
ENQUEUED = AT_ONCE * 20
PUBLISHED = AT_ONCE * 10


class Remind(Command[None]):
    order_id: str
    note: str


@message(delivery="at_least_once")
class Kept(Event):
    order_id: str
    note: str


class Told(Event):
    order_id: str
    note: str


class Handled:
    """Counts what was handled, and tells when it is enough."""

    def __init__(self) -> None:
        self._left = 0
        self._done = asyncio.Event()

    def expect(self, count: int) -> asyncio.Event:
        self._left = count
        self._done.clear()
        return self._done

    def one(self) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()


async def _at_once(operation: Callable[[], Awaitable[object]], count: int) -> None:
    async def caller() -> None:
        for _ in range(count // AT_ONCE):
            await operation()

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


async def _enqueue(rounds: int, synchronous: Synchronous) -> Row:
    with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
        catga = add_catga()
        add_sqlite_catga(catga, SqliteOptions(Path(folder) / "ours.db", synchronous=synchronous))
        add_queues(catga)

        async def remind(_command: Remind) -> None:
            raise AssertionError

        catga.add_handlers(remind)
        # Nothing works here: what is enqueued stays.
        async with catga.running(roles={"admin"}) as app:
            thread = LeanThread(Lean(Path(folder) / "lean.db", synchronous), asyncio.get_running_loop())
            numbers = iter(range(10**9))

            async def ours() -> float:
                began = time.perf_counter()
                command = Remind("order-123456", "thank you for your order")
                await _at_once(lambda: app.mediator.enqueue(command), ENQUEUED)
                return time.perf_counter() - began

            async def by_hand() -> float:
                began = time.perf_counter()
                await _at_once(lambda: thread.append("queue", next(numbers)), ENQUEUED)
                return time.perf_counter() - began

            ratio, our, limit = await paired(ours, by_hand, rounds=rounds)
            thread.stop()
    title = f"enqueue, {AT_ONCE} callers / a thread that commits each to a lean table"
    return Row(title, ratio, ENQUEUED / our, ENQUEUED / limit, "commands/s", ">= 5")


@asynccontextmanager
async def _app(catga: CatgaContainer, handled: Handled) -> AsyncGenerator[CatgaApp]:
    add_queues(catga, QueueOptions(concurrency=AT_ONCE))

    async def keep(_event: Kept) -> None:
        handled.one()

    async def tell(_event: Told) -> None:
        handled.one()

    catga.add_handlers(keep, tell)
    async with catga.running() as app:
        yield app


async def _events(title: str, catga: CatgaContainer, rounds: int) -> Row:
    handled = Handled()
    async with _app(catga, handled) as app:

        async def slice_of(event: Event) -> float:
            done = handled.expect(PUBLISHED)
            began = time.perf_counter()
            await _at_once(lambda: app.mediator.publish(event), PUBLISHED)
            await done.wait()
            return time.perf_counter() - began

        kept, told = Kept("order-123456", "thank you"), Told("order-123456", "thank you")
        ratio, our, limit = await paired(lambda: slice_of(kept), lambda: slice_of(told), rounds=rounds)
    name = f"publish at least once until handled, {AT_ONCE} callers, {title} / in the process, kept nowhere"
    return Row(name, ratio, PUBLISHED / our, PUBLISHED / limit, "events/s")


async def measure(rounds: int, synchronous: Synchronous) -> list[Row]:
    """Measure every row.

    Args:
        rounds: How many slices of ours.
        synchronous: The mode of SQLite.
    """
    rows = [await _enqueue(rounds, synchronous)]
    rows.append(await _events("memory", add_catga(), rounds))
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="catga-bench-"))
        sqlite = add_catga()
        add_sqlite_catga(sqlite, SqliteOptions(Path(folder) / "ours.db", synchronous=synchronous))
        rows.append(await _events("SQLite", sqlite, rounds))
        server = await stack.enter_async_context(ValkeyServer())
        rows.append(await _events("Redis", add_catga(CatgaOptions(store=server.url)), rounds))
    return rows


def run(rounds: int = 9, synchronous: Synchronous = "FULL") -> list[Row]:
    """Measure every row.

    Args:
        rounds: How many slices of ours.
        synchronous: The mode of SQLite.
    """
    return asyncio.run(measure(rounds, synchronous))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Queues over each store.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--synchronous", default="FULL", choices=("FULL", "NORMAL"))
    options = parser.parse_args()
    print(table(run(options.rounds, options.synchronous)))
