"""Very many commands that are due within one minute: how late they are handled.

`python -m tests.faults.messaging.delayed work URL LOG` is one process that handles them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Command,
    RequestHandler,
    add_catga,
    message,
)
from catga_core.reliability import QueueOptions, add_queues
from catga_testing.waiting import eventually
from tests.faults.histories.history import Recorder, read_history
from tests.faults.kills.places import PLACES
from tests.faults.messaging.counts import Count, Log
from tests.faults.messaging.places import way_of
from tests.faults.messaging.processes import Process

_WORKERS = 2
_CALLERS = 64
_MINUTE = 60.0
_A_SECOND = 1_000  # that this many are enqueued in a second is expected; who is faster waits
_WITHIN = 600.0


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


def compose(url: str, record: Recorder) -> CatgaContainer:
    """Put the application together.

    Args:
        url: Where its state is.
        record: Where its handlers' effects go.
    """
    catga = add_catga(CatgaOptions(service_name="delayed", store=url))
    add_queues(catga, QueueOptions(concurrency=128))
    catga.add_singleton(Log, Log(record))
    catga.add_handlers(RemindHandler)
    return catga


async def run(store: str, *, commands: int) -> Count:
    """Enqueue so many commands that are due in the same minute, and measure.

    Args:
        store: `sqlite` or `redis`.
        commands: How many.
    """
    count = Count(f"{commands:,} delayed commands over {store}")
    began = time.monotonic()
    async with PLACES[store]() as place:
        with tempfile.TemporaryDirectory(prefix="catga-delayed-") as folder:
            record = Recorder(Path(folder) / "look.jsonl", "look")
            async with compose(way_of(place), record).running(roles={"admin"}) as app:
                due = time.time() + commands / _A_SECOND
                numbers = iter(range(commands))
                async with asyncio.TaskGroup() as group:
                    for _ in range(_CALLERS):
                        group.create_task(_enqueue(app.mediator, numbers, due, commands))
                seconds = time.monotonic() - began
                count.counts["enqueued a second"] = round(commands / seconds)
                if time.time() > due:
                    count.problems.append("enqueueing took until the first was due")
                workers = [
                    Process(
                        f"worker-{n}",
                        "tests.faults.messaging.delayed",
                        "work",
                        (way_of(place),),
                        Path(folder),
                    )
                    for n in range(_WORKERS)
                ]
                try:
                    for each in workers:
                        await each.start()

                    async def is_empty() -> bool:
                        stats = await app.message_queues.stats()
                        return not any(each.ready or each.scheduled for each in stats.values())

                    await eventually(is_empty, within=_WITHIN, every=0.5)
                    for each in workers:
                        count.problems += await each.end()
                finally:
                    for each in workers:
                        await each.abandon()
            _check([each.log for each in workers], commands, count)
    count.seconds = time.monotonic() - began
    return count


async def _enqueue(mediator: CatgaMediator, numbers: Iterator[int], due: float, commands: int) -> None:
    for number in numbers:
        at = due + _MINUTE * number / commands
        await mediator.enqueue(Remind(number, at), at=datetime.fromtimestamp(at, UTC))


def _check(logs: list[Path], commands: int, count: Count) -> None:
    handled = [each for each in read_history(logs) if each.kind == "handled"]
    numbers = {each["number"] for each in handled}
    count.counts["handled"] = len(numbers)
    count.counts["handled again"] = len(handled) - len(numbers)
    if numbers != set(range(commands)):
        count.problems.append(f"{commands - len(numbers)} were not handled")
    if len(handled) != len(numbers):
        count.problems.append("commands were handled twice, though nothing was killed")
    late = sorted(each["late"] for each in handled)
    if late and late[0] < 0:
        count.problems.append(f"a command was handled {-late[0]:.3f} s before it was due")
    for name, share in {"half": 0.5, "99 %": 0.99, "all": 1.0}.items():
        at = late[min(len(late) - 1, int(share * len(late)))]
        count.counts[f"milliseconds late: {name}, at most"] = round(1_000 * at)


async def work(url: str, log: Path) -> None:
    """Handle commands until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with compose(url, Recorder(log, str(os.getpid()))).running(roles={"work"}):
        await stop.wait()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(work(sys.argv[2], Path(sys.argv[3])))
