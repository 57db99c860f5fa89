"""Very many commands that are due within one minute: how late they are handled, and whether each one is whatever is killed.

`python -m tests.faults.messaging.delayed work WAY LOG LEASE` is one process that handles them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from catga_core import (
    CatgaApp,
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    Command,
    RequestHandler,
    add_catga,
    message,
)
from catga_core.reliability import QueueOptions, add_queues
from catga_testing.waiting import NotInTimeError, eventually
from tests.faults.histories.history import Recorder, read_history
from tests.faults.messaging.campaign import break_in_turn
from tests.faults.messaging.counts import Count, Log
from tests.faults.messaging.places import PLACES, REDIS_IS_KILLED, Place
from tests.faults.messaging.processes import Process
from tests.faults.messaging.streams import consumers_in, left_in, unsettled_in
from tests.faults.messaging.ways import Way, add_servers, read_way

_WORKERS = 2
_CALLERS = 64
_MINUTE = 60.0
_A_SECOND = 1_000  # that this many are enqueued in a second is expected; who is faster waits
_A_SECOND_SYNCED = 400  # the same where the server flushes its file for each
_WITHIN = 240.0
_LEASE, _SHORT_LEASE = 30.0, 5.0  # seconds; short where processes are killed
_BETWEEN = (0.2, 1.2)  # seconds between two faults
_TURNS = 10  # how often each thing that breaks in turn does so
_AGAIN = 0.1


@message(name="delayed.remind")
class Remind(Command[None]):
    """Is due at a time."""

    number: int
    at: float


class RemindHandler(RequestHandler[Remind, None]):
    """Says how late it was."""

    def __init__(self, log: Log) -> None:
        self._record = log.record

    async def handle(self, message: Remind) -> None:
        """Say it."""
        self._record("handled", number=message.number, late=time.time() - message.at)


def compose(way: Way, record: Recorder, lease: float = _LEASE) -> CatgaContainer:
    """Put the application together.

    Args:
        way: How it reaches its commands.
        record: Where its handlers' effects go.
        lease: Seconds after which another process has what a killed one was handling.
    """
    catga = add_catga(CatgaOptions(service_name="delayed", store=way.store))
    add_queues(
        catga, QueueOptions(concurrency=128, lease_seconds=lease, max_attempts=50, retry_delay_seconds=0.1)
    )
    add_servers(catga, way)
    catga.add_singleton(Log, Log(record))
    catga.add_handlers(RemindHandler)
    return catga


async def run(store: str, *, commands: int, faults: int | None = None) -> Count:
    """Enqueue so many commands that are due in the same minute, and measure.

    Args:
        store: The place, one of `PLACES`.
        commands: How many.
        faults: Decides what breaks while they are due; `None` for nothing.
    """
    count = Count(f"{commands:,} delayed commands over {store}")
    began = time.monotonic()
    async with PLACES[store](_WORKERS) as place:
        with tempfile.TemporaryDirectory(prefix="catga-delayed-") as folder:
            await _run(place, Path(folder), commands, faults, count)
    count.seconds = time.monotonic() - began
    return count


async def _run(place: Place, folder: Path, commands: int, faults: int | None, count: Count) -> None:
    record = Recorder(folder / "look.jsonl", "look")
    lease = _LEASE if faults is None else _SHORT_LEASE
    workers = [
        Process(f"worker-{n}", "tests.faults.messaging.delayed", "work", (way.written(), str(lease)), folder)
        for n, way in enumerate(place.ways)
    ]
    async with compose(place.look, record, lease).running(roles={"admin"}) as app:
        began = time.monotonic()
        due = time.time() + commands / (_A_SECOND_SYNCED if place.synced else _A_SECOND)
        numbers = iter(range(commands))
        async with asyncio.TaskGroup() as group:
            for _ in range(_CALLERS):
                group.create_task(_enqueue(app.mediator, numbers, due, commands))
        count.counts["enqueued a second"] = round(commands / (time.monotonic() - began))
        if time.time() > due:
            count.problems.append("enqueueing took until the first was due")
        try:
            for each in workers:
                await each.start()
            if faults is not None:
                await asyncio.sleep(due - time.time())
                async with asyncio.TaskGroup() as group:
                    group.create_task(break_in_turn(place, _TURNS, _MINUTE, faults, count))
                    await _break(place, workers, random.Random(f"{faults} delayed"), count)
            count.problems += await _emptied(place.look, app)
            for each in workers:
                count.problems += await each.end()
            if place.look.servers:
                # A server that was killed may have them again.
                count.counts["settled, and in the stream all the same"] = (
                    await left_in(place.look.servers)
                ).total()
                if waiting := (await app.message_queues.find()).entries:
                    count.problems.append(f"{len(waiting)} are said to wait")
        finally:
            for each in workers:
                await each.abandon()
        if letters := await app.dead_letter_queue.count():
            count.problems.append(f"{letters} are in the dead letters")
    _check([each.log for each in workers], commands, faults is not None, count)


async def _break(place: Place, workers: Sequence[Process], chance: random.Random, count: Count) -> None:
    until = time.monotonic() + _MINUTE
    faults = {name: fault for name, fault in place.faults.items() if name != REDIS_IS_KILLED}
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(*_BETWEEN))
        worker, pause = chance.choice(workers), chance.uniform(0.1, 2 * _SHORT_LEASE)
        name = chance.choice(["worker is killed", "worker stands still", *faults])
        count.faults[name] += 1
        if name == "worker is killed":
            await worker.kill_and_start()
        elif name == "worker stands still":
            await worker.pause(pause)
        else:
            await faults[name](random.Random(chance.random()))


async def _emptied(look: Way, app: CatgaApp) -> list[str]:
    """Wait until every command is settled; return what is wrong where that takes too long."""

    async def is_empty() -> bool:
        if look.servers:
            return not await unsettled_in(look.servers)
        stats = await app.message_queues.stats()
        return not any(each.ready or each.scheduled for each in stats.values())

    try:
        await eventually(is_empty, within=_WITHIN, every=0.5)
    except NotInTimeError:
        if not look.servers:
            return [f"what was left was not handled within {_WITHIN:g} s"]
        left = dict(await unsettled_in(look.servers))
        return [
            f"what was left was not handled within {_WITHIN:g} s: {left}",
            *await consumers_in(look.servers),
        ]
    return []


async def _enqueue(mediator: CatgaMediator, numbers: Iterator[int], due: float, commands: int) -> None:
    for number in numbers:
        at = due + _MINUTE * number / commands
        await mediator.enqueue(Remind(number, at), at=datetime.fromtimestamp(at, UTC))


def _check(logs: list[Path], commands: int, broken: bool, count: Count) -> None:
    handled = [each for each in read_history(logs) if each.kind == "handled"]
    numbers = {each["number"] for each in handled}
    count.counts["handled"] = len(numbers)
    count.counts["handled again"] = len(handled) - len(numbers)
    if numbers != set(range(commands)):
        count.problems.append(f"{commands - len(numbers)} were not handled")
    if len(handled) != len(numbers) and not broken:
        count.problems.append("commands were handled twice, though nothing was killed")
    late = sorted(each["late"] for each in handled)
    if late and late[0] < 0:
        count.problems.append(f"a command was handled {-late[0]:.3f} s before it was due")
    for name, share in {"half": 0.5, "99 %": 0.99, "all": 1.0}.items():
        at = late[min(len(late) - 1, int(share * len(late)))]
        count.counts[f"milliseconds late: {name}, at most"] = round(1_000 * at)


async def work(way: Way, log: Path, lease: float) -> None:
    """Handle commands until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    record = Recorder(log, str(os.getpid()))
    while not stop.is_set():
        try:
            async with compose(way, record, lease).running(roles={"work"}):
                await stop.wait()
        except CatgaError as error:
            record("not started", error=error.message)
            await asyncio.sleep(_AGAIN)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(work(read_way(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
