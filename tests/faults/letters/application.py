"""An application that replays its dead letters, and that is killed: `python -m tests.faults.letters.application URL LOG`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, Event, add_catga, message
from catga_core.interfaces.event_store import EventStore
from catga_core.reliability import DeadLetterOptions, add_dead_letters, ordered_by

LEASE = 0.5  # seconds: what a killed process was replaying is free again this soon
CONCURRENT = 8
_PAUSE = 0.05


@message(name="letters.poison")
@ordered_by(lambda event: event.key)
class Poison(Event):
    """What the handler fails for until it is fixed."""

    key: str
    number: int


@message(name="letters.handled")
class Handled(Event):
    """The effect: what the handler has had."""

    number: int


def compose(url: str, log: Path | None = None) -> CatgaContainer:
    """Put the application together.

    Args:
        url: Where its state is.
        log: The file with a line for each attempt; `None` for a handler that fails.
    """

    async def handle(event: Poison, events: EventStore) -> None:
        if log is None:
            msg = "not fixed yet"
            raise ValueError(msg)
        line = f"{event.key} {event.number} {os.getpid()}\n".encode()
        with log.open("ab", buffering=0) as file:
            file.write(line)
        await events.append(f"handled-{event.key}", [Handled(event.number)])

    catga = add_catga(CatgaOptions(service_name="letters", store=url, enable_outbox=True))
    add_dead_letters(
        catga, DeadLetterOptions(replay_lease_seconds=LEASE, alarm_count=None, alarm_growth=None)
    )
    catga.add_handlers(handle)
    return catga


async def work(url: str, log: Path) -> None:
    """Replay until there is nothing left.

    Args:
        url: Where the state is.
        log: The file of its lines.
    """
    async with compose(url, log).running() as app:
        while await app.dead_letters.count():
            await app.dead_letter_queue.replay_all(max_concurrent=CONCURRENT)
            await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2])))
