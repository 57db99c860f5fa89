"""The composition that every process of a run has: messages, handlers, and what each handler leaves behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    Command,
    ErrorCode,
    Event,
    EventHandler,
    RequestHandler,
    add_catga,
    message,
)
from catga_core.interfaces import Storage
from catga_core.interfaces.durable_transport import command_queue, event_queue
from catga_core.reliability import QueueOptions, add_queues, ordered_by
from catga_core.unit_of_work import connection_of
from catga_redis import RedisConnection
from catga_sqlite import SqliteConnection
from tests.faults.histories.history import Recorder
from tests.faults.messaging.plan import BOOKED, MOVED, TOLD, WORK, Planned

LEASE = 1.5  # seconds
MAX_ATTEMPTS = 8
SERVICE = "messaging"
BOOKED_LIST = "{catga}:app:messaging:booked"
BOOKED_TABLE = "CREATE TABLE IF NOT EXISTS messaging_booked (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, key TEXT, number INTEGER)"

QUEUES_OF: dict[str, tuple[str, ...]] = {
    TOLD: (event_queue(SERVICE, "Tell"), event_queue(SERVICE, "Audit")),
    MOVED: (event_queue(SERVICE, "Track"),),
    BOOKED: (event_queue(SERVICE, "Book"),),
    WORK: (command_queue("messaging.work"),),
}
"""The queues of each kind of message."""


@message(name="messaging.told", delivery="at_least_once")
class Told(Event):
    """Without order."""

    id: str
    behaviour: str


@ordered_by(lambda event: event.key)
@message(name="messaging.moved", delivery="at_least_once")
class Moved(Event):
    """In order of its key."""

    id: str
    key: str
    number: int
    behaviour: str


@ordered_by(lambda event: event.key)
@message(name="messaging.booked", delivery="exactly_once")
class Booked(Event):
    """In order of its key, and once."""

    id: str
    key: str
    number: int
    behaviour: str


@message(name="messaging.work")
class Work(Command[None]):
    """Enqueued, now or later."""

    id: str
    key: str
    number: int
    behaviour: str


class Effects:
    """Says what handlers did, outside of every unit of work.

    Args:
        record: Writes it.
    """

    def __init__(self, record: Recorder | None) -> None:
        self.record: Recorder | None = record

    async def leave(self, queue: str, message: Any, *, key: str = "", number: int = 0) -> None:
        """Behave as the message says, and write what was done."""
        began = time.monotonic()
        await behave(message.behaviour)
        if self.record is not None:
            self.record(
                "handled",
                queue=queue,
                id=message.id,
                key=key,
                number=number,
                began=began,
                wall=time.time(),
            )


class Tell(EventHandler[Told]):
    """Leaves an effect."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def handle(self, message: Told) -> None:
        """Leave it."""
        await self._effects.leave(QUEUES_OF[TOLD][0], message)


class Audit(EventHandler[Told]):
    """A second handler of the same event, with its own copy."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def handle(self, message: Told) -> None:
        """Leave an effect."""
        await self._effects.leave(QUEUES_OF[TOLD][1], message)


class Track(EventHandler[Moved]):
    """Leaves an effect, in order."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def handle(self, message: Moved) -> None:
        """Leave it."""
        await self._effects.leave(QUEUES_OF[MOVED][0], message, key=message.key, number=message.number)


class DoWork(RequestHandler[Work, None]):
    """Leaves an effect, in order where the command has a key."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def handle(self, message: Work) -> None:
        """Leave it."""
        await self._effects.leave(QUEUES_OF[WORK][0], message, key=message.key, number=message.number)


class Book(EventHandler[Booked]):
    """Writes a row of its own in the unit of work, before it behaves: a failure rolls it back."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def handle(self, message: Booked) -> None:
        """Write it."""
        async with self._storage.unit_of_work() as uow:
            if isinstance(uow.connection, SqliteConnection):
                sql = "INSERT INTO messaging_booked (id, key, number) VALUES (?, ?, ?)"
                row = (message.id, message.key, message.number)
                await connection_of(uow, SqliteConnection).execute(sql, row)
            else:
                row_text = f"{message.id} {message.key} {message.number}"
                connection_of(uow, RedisConnection).queue("RPUSH", BOOKED_LIST, row_text)
            await behave(message.behaviour)


async def behave(behaviour: str) -> None:
    """Do what a message says of its handler."""
    if behaviour == "slow":
        await asyncio.sleep(random.uniform(0.02, 0.3))
    elif behaviour == "slower":
        await asyncio.sleep(1.3 * LEASE)
    elif behaviour == "flaky" and random.random() < 0.4:
        raise ConnectionError("not this time")
    elif behaviour == "poison":
        raise ValueError("never")
    elif behaviour == "refused":
        raise CatgaError(
            "never, and asking again is of no use", code=ErrorCode.HANDLER_FAILED, retryable=False
        )


def compose(url: str, *, record: Recorder | None = None) -> CatgaContainer:
    """Put the application together.

    Args:
        url: Where its state is.
        record: Where its handlers' effects go.
    """
    catga = add_catga(CatgaOptions(service_name=SERVICE, store=url, enable_dead_letter_queue=True))
    add_queues(
        catga,
        QueueOptions(
            lease_seconds=LEASE,
            poll_seconds=0.3,
            concurrency=8,
            max_attempts=MAX_ATTEMPTS,
            retry_delay_seconds=0.05,
            retry_max_delay_seconds=0.3,
        ),
    )
    catga.add_singleton(Effects, Effects(record), instance=True)
    catga.add_handlers(Tell, Audit, Track, Book, DoWork)
    return catga


def event_of(planned: Planned) -> Event:
    """Return the event that is planned."""
    if planned.kind == TOLD:
        return Told(planned.id, planned.behaviour)
    kinds: dict[str, Callable[..., Event]] = {MOVED: Moved, BOOKED: Booked}
    return kinds[planned.kind](planned.id, planned.key, planned.number, planned.behaviour)


def work_of(planned: Planned) -> Work:
    """Return the command that is planned."""
    return Work(planned.id, planned.key, planned.number, planned.behaviour)
