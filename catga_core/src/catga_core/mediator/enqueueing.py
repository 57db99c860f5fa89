"""Enqueues commands: checks what is given, and hands them to the feature that keeps them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from catga_core.errors import ConfigurationError
from catga_core.interfaces.outbox import ToEnqueue
from catga_core.mediator.dispatcher import Dispatcher
from catga_core.mediator.durable import DurableMessages, Enqueued
from catga_core.mediator.keeping import refuse_in_unit_of_work
from catga_core.mediator.options import PUBLISH, check_options
from catga_core.mediator.preparing import prepared
from catga_core.mediator.recording import Outgoing, current_recording
from catga_core.mediator.refusals import expect
from catga_core.mediator.routes import EventOutbox, RouteSource
from catga_core.messages import MessageKind, Request
from catga_core.messages.context import begin_event_context
from catga_core.messages.delivery import Priority
from catga_core.messages.scheduled import ScheduledId, scheduled_as
from catga_core.option_checks import MOST_SECONDS, check_name, check_seconds
from catga_core.runtime.unit_of_work import open_unit_of_work

_COMMANDS = frozenset({MessageKind.COMMAND})


class Enqueueing:
    """Enqueues commands for later, and asks what became of them.

    Args:
        source: Knows the feature that keeps them.
        dispatcher: Refuses messages of a container that is not running.
    """

    __slots__ = ("_found", "_gate", "_source")

    def __init__(self, source: RouteSource, dispatcher: Dispatcher) -> None:
        self._source = source
        self._gate = dispatcher.gate
        # What keeps commands, and the outbox where these are no part of a unit of work; found once until something changes.
        self._found: tuple[DurableMessages, EventOutbox | None] | None = None

    def forget(self) -> None:
        """Find everything again when it is next needed."""
        self._found = None

    async def enqueue(
        self,
        command: Request[Any],
        delay: float | timedelta | None,
        at: datetime | None,
        key: str | None,
        priority: Priority | None,
        message_id: str | None,
    ) -> ScheduledId:
        """Enqueue a command; see `CatgaMediator.enqueue`."""
        described = expect(type(command), _COMMANDS, "enqueue() takes a Command")
        if message_id is not None:
            check_options("enqueue", {"message_id": message_id}, PUBLISH)
        due_at = None
        if delay is not None or at is not None:
            due_at = due_time(delay, at, self._source.clock.time())
        if key is not None:
            check_name("key", key)
        chosen = Priority.NORMAL if priority is None else _priority(priority)
        refusal = self._gate.refusal(described)
        if refusal is not None:
            raise refusal
        durable, outbox = self._found or await self._find()
        # Like an event's: what is handled later has no deadline of what is handled now.
        context = begin_event_context(message_id=message_id)
        recording = current_recording()
        if recording is not None:
            recording.enqueued.append(Outgoing(command, context, due_at, key))
            return scheduled_as(described.name, context.message_id)
        if outbox is not None and outbox.applies():
            enqueue = ToEnqueue(due_at or 0.0, key, chosen)
            await outbox.store_command(described, command, context, enqueue)
            return scheduled_as(described.name, context.message_id)
        if open_unit_of_work() is not None and not durable.transactional:
            refuse_in_unit_of_work(described)
        return await durable.enqueue(described, command, context, due_at=due_at, key=key, priority=chosen)

    async def cancel(self, scheduled: ScheduledId) -> bool:
        """Cancel an enqueued command; see `CatgaMediator.cancel`."""
        durable = await self._durable("cancel()")
        recording = current_recording()
        if recording is not None:
            recording.cancelled.append(scheduled)
            return True
        return await durable.cancel(scheduled)

    async def enqueued(self, scheduled: ScheduledId) -> Enqueued | None:
        """Return the state of an enqueued command; see `CatgaMediator.enqueued`."""
        return await (await self._durable("enqueued()")).enqueued(scheduled)

    async def _find(self) -> tuple[DurableMessages, EventOutbox | None]:
        durable, outbox = await prepared(self._source, self._ask)
        found = _required(durable, "enqueue()"), outbox
        if self._gate.is_open:
            self._found = found
        return found

    def _ask(self) -> tuple[DurableMessages | None, EventOutbox | None]:
        # At once, so that nothing is remembered of before a `forget`.
        durable = self._source.durable
        # What takes part in the unit of work needs no outbox.
        return durable, None if durable is None or durable.transactional else self._source.outbox

    async def _durable(self, call: str) -> DurableMessages:
        return _required(await prepared(self._source, lambda: self._source.durable), call)


def _required(durable: DurableMessages | None, call: str) -> DurableMessages:
    if durable is None:
        msg = (
            f"{call} requires queues, and this container has none. Set CatgaOptions(enable_queues=True), or call "
            "add_queues(catga)."
        )
        raise ConfigurationError(msg)
    return durable


def due_time(delay: float | timedelta | None, at: datetime | None, now: float) -> float | None:
    """Return when a command is due, seconds since the Unix epoch; `None` for at once.

    Args:
        delay: Seconds from now.
        at: A time.
        now: Seconds since the Unix epoch.

    Raises:
        ValueError: Both are given, the delay is negative or not finite, or the time is naive.
        TypeError: One is of another type.
    """
    if delay is not None and at is not None:
        msg = f"enqueue() got both delay={delay!r} and at={at!r}. Pass one of them."
        raise ValueError(msg)
    if delay is not None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        check_seconds("delay", seconds, least=0, most=MOST_SECONDS)
        return now + seconds
    if at is None:
        return None
    moment: object = at
    if not isinstance(moment, datetime):
        msg = f"at must be a datetime or None; got a {type(moment).__name__}. Pass datetime(..., tzinfo=UTC)."
        raise TypeError(msg)
    if moment.tzinfo is None:
        msg = f"at must be timezone-aware; got the naive {moment!r}. Pass datetime(..., tzinfo=UTC)."
        raise ValueError(msg)
    return moment.timestamp()


def _priority(priority: object) -> Priority:
    try:
        return Priority(priority)  # type: ignore[arg-type]  # refused below where it is not one
    except ValueError:
        known = ", ".join(f"Priority.{each.name}" for each in Priority)
        msg = f"priority must be one of {known}, or None; got {priority!r}."
        raise ValueError(msg) from None
