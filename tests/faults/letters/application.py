"""An application that replays its dead letters, and is killed: `python -m tests.faults.letters.application WAY LOG SOURCE`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import structlog

from catga_core import CatgaApp, CatgaContainer, CatgaError, CatgaOptions, Event, add_catga, message
from catga_core.interfaces.event_store import EventStore
from catga_core.reliability import (
    DeadLetterOptions,
    OnKeyFailure,
    QueueOptions,
    add_dead_letters,
    add_inbox,
    add_queues,
    ordered_by,
)
from tests.faults.messaging.streams import left_in
from tests.faults.messaging.ways import Way, add_servers, read_way

LEASE = 0.5  # seconds: what a killed process was replaying is free again this soon
CONCURRENT = 8
HANDLER, QUEUE, PARKED = "handler", "queue", "parked"
_QUEUE_LEASE = 1.5  # seconds: the same for what it was handling
_PAUSE = 0.05


@ordered_by(lambda event: event.key)
class Numbered(Event):
    """What the handlers fail for until they are fixed."""

    key: str
    number: int


@message(name="letters.poison")
class Poison(Numbered):
    """Goes straight to its handler."""


@message(name="letters.queued_poison", delivery="exactly_once")
class QueuedPoison(Numbered):
    """Goes to its handler through a queue."""


@message(name="letters.handled")
class Handled(Event):
    """The effect: what the handler has had."""

    number: int


def poison_of(source: str, key: str, number: int) -> Numbered:
    """Return a poison message.

    Args:
        source: What becomes of it: a dead letter of its `handler` or of its `queue`, or `parked` behind the first one of its key.
        key: Its key.
        number: Its number within the key.
    """
    return (Poison if source == HANDLER else QueuedPoison)(key, number)


def compose(way: Way, source: str, log: Path | None = None) -> CatgaContainer:
    """Put the application together.

    Args:
        way: How it reaches its state and its messages.
        source: As of `poison_of`.
        log: The file with a line for each attempt; `None` for a handler that fails.
    """

    async def handle(event: Numbered, events: EventStore) -> None:
        if log is None:
            msg = "not fixed yet"
            raise ValueError(msg)
        line = f"{event.key} {event.number} {os.getpid()}\n".encode()
        with log.open("ab", buffering=0) as file:
            file.write(line)
        await events.append(f"handled-{event.key}", [Handled(event.number)])

    async def straight(event: Poison, events: EventStore) -> None:
        await handle(event, events)

    async def queued(event: QueuedPoison, events: EventStore) -> None:
        await handle(event, events)

    catga = add_catga(CatgaOptions(service_name="letters", store=way.store, enable_outbox=True))
    letters = DeadLetterOptions(replay_lease_seconds=LEASE, alarm_count=None, alarm_growth=None)
    add_dead_letters(catga, letters)
    if source == HANDLER:
        catga.add_handlers(straight)
        return catga
    queues = QueueOptions(
        max_attempts=1 if log is None else 50,
        poll_seconds=0.05,
        retry_delay_seconds=0.05,
        concurrency=CONCURRENT,
        lease_seconds=_QUEUE_LEASE,
        on_failure=OnKeyFailure.PARK_KEY if source == PARKED else OnKeyFailure.SKIP,
    )
    add_queues(catga, queues)
    if way.servers:
        add_inbox(catga)
    add_servers(catga, way)
    catga.add_handlers(queued)
    return catga


async def is_settled(app: CatgaApp, way: Way, source: str) -> bool:
    """Return whether there is nothing left to replay or to handle.

    Args:
        app: The application.
        way: How it reaches its state and its messages.
        source: As of `poison_of`.
    """
    if await app.dead_letters.count():
        return False
    if way.servers:
        return not await left_in(way.servers)
    if source == HANDLER:
        return True
    return not any(each.ready or each.held_keys for each in (await app.message_queues.stats()).values())


async def work(way: Way, log: Path, source: str) -> None:
    """Replay, and handle what is parked, until there is nothing left.

    Args:
        way: How it reaches its state and its messages.
        log: The file of its lines.
        source: As of `poison_of`.
    """
    while True:
        try:
            async with compose(way, source, log).running() as app:
                while not await is_settled(app, way, source):
                    await app.dead_letter_queue.replay_all(max_concurrent=CONCURRENT)
                    await asyncio.sleep(_PAUSE)
            return
        except (CatgaError, OSError):
            # A server was killed.
            await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(work(read_way(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
