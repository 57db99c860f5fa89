"""An application whose events are published from its log, and that is killed: `python -m tests.faults.publishing URL LOG MODE`."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, Event, EventHandler, add_catga, current_context, message
from catga_core.event_sourcing import add_event_publisher

STREAMS = 3
_LEASE = 0.3  # seconds: what a killed process held is free again this soon


@message(name="publishing.moved")
class Moved(Event):
    """Something happened to a stream."""

    stream: str
    number: int


class Log:
    """Lines in a file; one that was written outlives this process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, line: str) -> None:
        """Write a line by one call of the system."""
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


class Tell(EventHandler[Moved]):
    """Says what was published to it."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def handle(self, message: Moved) -> None:
        """Write a line."""
        self._log.say(f"published {message.stream} {message.number} {current_context().message_id}")


def compose(url: str, log: Path) -> CatgaContainer:
    """Put the application together.

    Args:
        url: Where its state is.
        log: The file of its lines.
    """
    catga = add_catga(CatgaOptions(service_name="publishing", store=url))
    catga.add_singleton(Log, Log(log), instance=True)
    catga.add_handlers(Tell)
    add_event_publisher(
        catga, stream="moved-*", lease_seconds=_LEASE, poll_seconds=0.05, retry_delay_seconds=0.05
    )
    return catga


async def work(url: str, log: Path, *, die_after_append: bool) -> None:
    """Append until killed.

    Args:
        url: Where the state is.
        log: The file of its lines.
        die_after_append: Whether to be killed as soon as the first append is acknowledged, before anything is published.
    """
    catga = compose(url, log)
    async with catga.running() as app:
        said = app.get(Log)
        for turn in itertools.count():
            stream = f"moved-{turn % STREAMS}"
            version = await app.event_store.version(stream)
            events = [Moved(stream, version + 1), Moved(stream, version + 2)]
            appended = await app.event_store.append(stream, events, expected_version=version)
            said.say(f"appended {stream} {appended.version}")
            if die_after_append:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), die_after_append=sys.argv[3] == "die"))
