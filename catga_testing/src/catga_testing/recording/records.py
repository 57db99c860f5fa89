"""The records of one host: what was sent, published and received, in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from catga_core.errors import CatgaError
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.messages.scheduled import ScheduledId

M = TypeVar("M")


class Outcome(StrEnum):
    """How a message ended, if it has."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Sent(Generic[M]):
    """A request or stream query that this application sent.

    Args:
        message: What was sent.
        context: Its ids, deadline and headers.
        nested: Whether it was sent while another message was being handled; that one is `context.causation_id`.
        outcome: How it ended.
        result: Its result, for a stream a success with the list of items; `None` while it runs or when it was cancelled.
    """

    message: M
    context: MessageContext
    nested: bool
    outcome: Outcome = Outcome.RUNNING
    result: CatgaResult[Any] | None = None

    def end(self, result: CatgaResult[Any]) -> None:
        """Note the result."""
        self.result = result
        self.outcome = Outcome.FAILED if isinstance(result, Failure) else Outcome.SUCCEEDED


@dataclass(slots=True, eq=False)
class Published(Generic[M]):
    """An event that this application published.

    Args:
        message: The event.
        context: Its ids and headers.
        nested: Whether it was published while another message was being handled; that one is `context.causation_id`.
        outcome: Whether it was handed over; what its handlers made of it is in `failures`.
        error: Why it could not be handed over, else `None`.
    """

    message: M
    context: MessageContext
    nested: bool
    outcome: Outcome = Outcome.RUNNING
    error: CatgaError | None = None


@dataclass(slots=True, frozen=True, eq=False)
class EnqueuedCommand(Generic[M]):
    """A command that this application enqueued.

    Args:
        message: The command.
        id: As `enqueue` returned it.
        delay: As given.
        at: As given.
        key: As given.
        priority: As given.
    """

    message: M
    id: ScheduledId
    delay: float | timedelta | None
    at: datetime | None
    key: str | None
    priority: Priority | None


@dataclass(slots=True, eq=False)
class Received(Generic[M]):
    """A request or an event that reached this application over its transport, its own events included.

    Args:
        message: What arrived.
        context: As it travelled.
        outcome: How handling it ended.
        result: A request's result; `None` for an event and while it runs.
    """

    message: M
    context: MessageContext
    outcome: Outcome = Outcome.RUNNING
    result: CatgaResult[Any] | None = None


@dataclass(slots=True, frozen=True, eq=False)
class HandlerFailure(Generic[M]):
    """An event handler of this application that failed.

    Args:
        message: The event.
        handler: The handler's name.
        error: Why, with its code; the exception is its `__cause__`.
        context: The event's, `None` where none was bound.
    """

    message: M
    handler: str
    error: CatgaError
    context: MessageContext | None


class Journal:
    """The records of one host.

    Attributes:
        handed_over: The events of event publishers among `messages`, by message id.
    """

    __slots__ = ("enqueued", "failures", "handed_over", "messages", "received")

    def __init__(self) -> None:
        self.messages: list[Sent[Any] | Published[Any]] = []
        self.enqueued: list[EnqueuedCommand[Any]] = []
        self.received: list[Received[Any]] = []
        self.failures: list[HandlerFailure[Any]] = []
        self.handed_over: dict[str, Published[Any]] = {}

    def clear(self) -> None:
        """Forget everything so far."""
        self.messages.clear()
        self.enqueued.clear()
        self.received.clear()
        self.failures.clear()
        self.handed_over.clear()
