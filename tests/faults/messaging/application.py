"""The composition that every process of a run has: messages, handlers, and what each handler leaves behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from catga_core.reliability import OnKeyFailure, QueueOptions, add_inbox, add_queues, ordered_by
from catga_core.unit_of_work import connection_of
from catga_redis import RedisConnection
from catga_sqlite import SqliteConnection
from tests.faults.histories.history import Recorder
from tests.faults.messaging.plan import BOOKED, MOVED, TOLD, WORK, Planned
from tests.faults.messaging.ways import Way, add_servers, stored_over

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
"""The queues of each kind of message, where one service handles all."""


def queues_of(way: Way, kind: str) -> Sequence[str]:
    """Return the queues of a kind of message.

    Args:
        way: How processes reach the place; over JetStream each inbox is of a service of its own.
        kind: The kind.
    """
    if kind == BOOKED and way.inboxes:
        return [event_queue(_booking(each), "Book") for each in way.inboxes]
    return QUEUES_OF[kind]


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


def compose(way: Way, *, record: Recorder | None = None) -> CatgaContainer:
    """Put the application together, except for what handles exactly once over JetStream.

    Args:
        way: How it reaches its state and its messages.
        record: Where its handlers' effects go.
    """
    catga = _composed(way, SERVICE, way.store)
    catga.add_singleton(Effects, Effects(record), instance=True)
    catga.add_handlers(Tell, Audit, Track, DoWork)
    if not way.inboxes:
        catga.add_handlers(Book)
    return catga


def compose_booking(way: Way, inbox: str) -> CatgaContainer:
    """Put a service together that handles exactly once over JetStream.

    Args:
        way: How it reaches its messages.
        inbox: The URL of its storage.
    """
    failure = OnKeyFailure.PARK_KEY if parks(inbox) else OnKeyFailure.SKIP
    catga = _composed(way, _booking(inbox), inbox, failure)
    add_inbox(catga)
    catga.add_handlers(Book)
    return catga


def services_of(way: Way, *, record: Recorder | None = None) -> list[Callable[[], CatgaContainer]]:
    """Return what puts each service together that one process runs.

    Args:
        way: How they reach their states and their messages.
        record: Where their handlers' effects go.
    """
    return [
        partial(compose, way, record=record),
        *(partial(compose_booking, way, each) for each in way.inboxes),
    ]


def _booking(inbox: str) -> str:
    return f"booking-{stored_over(inbox)}"


def parks(inbox: str) -> bool:
    """Return whether a service parks the messages behind a dead letter of their key."""
    return stored_over(inbox) == "redis"


def _composed(
    way: Way, service: str, store: str, on_failure: OnKeyFailure = OnKeyFailure.SKIP
) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=service, store=store, enable_dead_letter_queue=True))
    add_queues(
        catga,
        QueueOptions(
            lease_seconds=LEASE,
            poll_seconds=0.3,
            concurrency=8,
            max_attempts=MAX_ATTEMPTS,
            retry_delay_seconds=0.05,
            retry_max_delay_seconds=0.3,
            on_failure=on_failure,
        ),
    )
    add_servers(catga, way)
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
