"""What the mediator asks the feature `queues` for: events that are kept, and enqueued commands."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from catga_core.interfaces.outbox import OutboxMessage
from catga_core.interfaces.queue import QueueState
from catga_core.messages import Event, MessageType, Request
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult
from catga_core.messages.scheduled import ScheduledId


class Enqueued(msgspec.Struct, frozen=True):
    """The state of an enqueued command.

    Args:
        id: Its id.
        state: What it waits for; `DONE` once it was handled.
        attempts: How many attempts were begun.
        due_at: The time of the next attempt, seconds since the Unix epoch; of its end once it was handled.
        error: What the last failed attempt failed with, `None` for none.
        result: What its handler returned; `None` before it was handled, and where results are not kept
            (`QueueOptions(keep_results=True)`).
    """

    id: ScheduledId
    state: QueueState
    attempts: int
    due_at: float
    error: str | None
    result: CatgaResult[Any] | None


class DurableMessages(Protocol):
    """Keeps events and commands in queues until they are handled."""

    @property
    def remote(self) -> bool:
        """Whether events reach other services by it; otherwise each service keeps its own."""
        ...

    @property
    def transactional(self) -> bool:
        """Whether what is kept in a unit of work is part of it, so that the outbox is not needed."""
        ...

    def takes(self, described: MessageType) -> bool:
        """Return whether events of a type are kept in queues."""
        ...

    async def publish(
        self,
        described: MessageType,
        event: Event,
        context: MessageContext,
        stored: OutboxMessage | None = None,
        /,
    ) -> None:
        """Publish an event; return when it is kept.

        Args:
            described: The event's type.
            event: The event.
            context: Its context.
            stored: The event as the outbox has it: its bytes are reused unless the name, version or format has changed. `None`
                for one that is not from the outbox.

        Raises:
            CatgaError: It is not known to be kept.
        """
        ...

    async def enqueue(
        self,
        described: MessageType,
        command: Request[Any],
        context: MessageContext,
        /,
        *,
        due_at: float | None,
        key: str | None,
        priority: Priority,
    ) -> ScheduledId:
        """Enqueue a command; return its id when it is kept.

        Raises:
            CatgaError: It is not known to be kept.
        """
        ...

    async def cancel(self, scheduled: ScheduledId, /) -> bool:
        """Cancel an enqueued command whose handler does not run; return whether it was cancelled."""
        ...

    async def enqueued(self, scheduled: ScheduledId, /) -> Enqueued | None:
        """Return the state of an enqueued command; `None` where it is not known any more."""
        ...
