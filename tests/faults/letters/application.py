"""An application that replays its dead letters, and is killed: `python -m tests.faults.letters.application URL LOG SOURCE`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, Event, add_catga, message
from catga_core.interfaces.event_store import EventStore
from catga_core.reliability import DeadLetterOptions, QueueOptions, add_dead_letters, add_queues, ordered_by

LEASE = 0.5  # seconds: what a killed process was replaying is free again this soon
CONCURRENT = 8
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


POISONS: dict[str, type[Poison | QueuedPoison]] = {"handler": Poison, "queue": QueuedPoison}
"""What is published, by the source of its dead letters."""


@message(name="letters.handled")
class Handled(Event):
    """The effect: what the handler has had."""

    number: int


def compose(url: str, source: str, log: Path | None = None) -> CatgaContainer:
    """Put the application together.

    Args:
        url: Where its state is.
        source: The source of the dead letters: `handler` or `queue`.
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

    catga = add_catga(CatgaOptions(service_name="letters", store=url, enable_outbox=True))
    add_dead_letters(
        catga, DeadLetterOptions(replay_lease_seconds=LEASE, alarm_count=None, alarm_growth=None)
    )
    if source == "queue":
        add_queues(catga, QueueOptions(max_attempts=1, poll_seconds=0.05))
    catga.add_handlers(queued if source == "queue" else straight)
    return catga


async def work(url: str, log: Path, source: str) -> None:
    """Replay until there is nothing left.

    Args:
        url: Where the state is.
        log: The file of its lines.
        source: The source of the dead letters.
    """
    async with compose(url, source, log).running() as app:
        while await app.dead_letters.count():
            await app.dead_letter_queue.replay_all(max_concurrent=CONCURRENT)
            await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
