"""One process of a run: `python -m tests.faults.messaging.process ROLE WAY LOG ARGUMENTS`."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from catga_core import CatgaContainer, CatgaError, CatgaMediator
from tests.faults.histories.history import Recorder, read_history
from tests.faults.messaging.application import compose, event_of, services_of, work_of
from tests.faults.messaging.plan import LANES, WORK, Planned, planned
from tests.faults.messaging.ways import Way, read_way

_AGAIN = 0.1  # seconds before what a fault hit is tried again


async def work(way: Way, log: Path, stop: asyncio.Event) -> None:
    """Handle messages until SIGTERM."""
    record = Recorder(log, str(os.getpid()))
    async with asyncio.TaskGroup() as group:
        for each in services_of(way, record=record):
            group.create_task(_serve(each, record, stop))


async def _serve(made: Callable[[], CatgaContainer], record: Recorder, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            async with made().running(roles={"work"}):
                record("ready")
                await stop.wait()
        except CatgaError as error:
            record("not started", error=error.message)
            await asyncio.sleep(_AGAIN)


async def publish(
    way: Way, log: Path, stop: asyncio.Event, seed: int, share: str, each_lane: int, pause: float
) -> None:
    """Publish the messages of some lanes, beginning with those that no earlier process has tried."""
    record = Recorder(log, str(os.getpid()))
    number, of = map(int, share.split("/"))
    last: dict[int, tuple[int, bool]] = dict.fromkeys(range(number, LANES, of), (-1, True))
    for entry in read_history([log]):
        if entry.kind in {"try", "acknowledged"}:
            last[entry["lane"]] = (entry["number"], entry.kind == "acknowledged")
    while not stop.is_set():
        try:
            async with compose(way).running(roles={"admin"}) as app, asyncio.TaskGroup() as group:
                for lane, (tried, acknowledged) in last.items():
                    publisher = Lane(seed, lane, each_lane, pause, app.mediator, record)
                    group.create_task(publisher.publish(tried + acknowledged))
        except* CatgaError as errors:
            record("not started", error=str(errors.exceptions[0]))
            await asyncio.sleep(_AGAIN)
        else:
            break
    record("published")


class Lane:
    """Publishes one message after the other."""

    def __init__(
        self,
        seed: int,
        number: int,
        count: int,
        pause: float,
        mediator: CatgaMediator,
        record: Recorder,
    ) -> None:
        self._seed = seed
        self._number = number
        self._count = count
        self._pause = pause
        self._mediator = mediator
        self._record = record

    async def publish(self, begin: int) -> None:
        """Publish from a number on; a message that an earlier process has tried has the same id again."""
        for number in range(begin, self._count):
            message = planned(self._seed, self._number, number)
            # Spread over the time of the run, so that faults meet them.
            await asyncio.sleep(random.uniform(0, 2 * self._pause))
            facts: dict[str, Any] = {"lane": self._number, "number": number, "id": message.id}
            while True:
                self._record("try", wall=time.time(), **facts)
                try:
                    await self._send(message)
                except CatgaError as error:
                    self._record("refused", code=error.code, error=error.message, **facts)
                    if message.given_up:
                        break
                    await asyncio.sleep(_AGAIN)
                else:
                    self._record("acknowledged", **facts)
                    break

    async def _send(self, message: Planned) -> None:
        if message.kind != WORK:
            await self._mediator.publish(event_of(message), message_id=message.id)
            return
        await self._mediator.enqueue(
            work_of(message), message_id=message.id, key=message.key or None, delay=message.delay or None
        )


async def main(role: str, way: str, log: str, *arguments: str) -> None:
    """Run one process until SIGTERM, or until all is published."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if role == "work":
        await work(read_way(way), Path(log), stop)
    else:
        seed, share, each_lane, pause = arguments
        await publish(read_way(way), Path(log), stop, int(seed), share, int(each_lane), float(pause))


if __name__ == "__main__":
    level = logging.CRITICAL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    asyncio.run(main(*sys.argv[1:]))
