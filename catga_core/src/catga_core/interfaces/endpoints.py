"""The inbound seam: what a transport, a relay or a consumer delivers messages to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from catga_core.errors import CatgaError
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult


class Delivered(msgspec.Struct, frozen=True):
    """What one handler did with one delivered event.

    Args:
        handler: The handler's name.
        result: What it ended with.
        unkept: Why no dead letter could be written for a failure; `None` where one was written, and where none is.
    """

    handler: str
    result: CatgaResult[Any]
    unkept: CatgaError | None = None


class Undecoded(msgspec.Struct, frozen=True):
    """A message that arrived and could not be decoded.

    Args:
        name: The wire name it came under.
        version: The version it came in.
        format: The serializer that made the bytes; empty where the message cannot be read at all.
        data: The bytes of the body, or of the whole message where that cannot be read.
        context: Its identity and headers; of its own making where the message cannot be read.
    """

    name: str
    version: int
    format: str
    data: bytes
    context: MessageContext


KeepUndecoded: TypeAlias = Callable[[Undecoded, CatgaError], Coroutine[Any, Any, None]]
"""Keeps an event that could not be decoded as a dead letter; raises nothing but cancellation."""


def keep_undecoded_of(endpoint: object) -> KeepUndecoded | None:
    """Return what keeps the undecodable events of an endpoint; `None` for nothing.

    Args:
        endpoint: The endpoint.
    """
    found: KeepUndecoded | None = getattr(endpoint, "keep_undecoded", None)
    return found


def validates(endpoint: object) -> bool:
    """Return whether an endpoint validates messages itself, as those of containers do.

    A transport may then hand it a message that breaks declared constraints, though not types: it is refused with every
    problem, those of validators included.

    Args:
        endpoint: The endpoint.
    """
    return getattr(endpoint, "validates", False) is True


class RequestEndpoint(Protocol):
    """One request type that this process handles."""

    @property
    def message_type(self) -> MessageType:
        """The request's type."""
        ...

    def handle(self, message: Any, context: MessageContext, /) -> Coroutine[Any, Any, CatgaResult[Any]]:
        """Handle one request through its whole pipeline: every outcome but cancellation is a result."""
        ...


class HandlerEndpoint(RequestEndpoint, Protocol):
    """One handler of one event type."""

    @property
    def handler(self) -> str:
        """The handler's name."""
        ...


class EventEndpoint(Protocol):
    """One event type that this process has handlers for."""

    @property
    def message_type(self) -> MessageType:
        """The event's type."""
        ...

    @property
    def handlers(self) -> Sequence[HandlerEndpoint]:
        """The event's handlers one by one, for a deliverer that settles each on its own."""
        ...

    def handle(self, event: Any, context: MessageContext, /) -> Coroutine[Any, Any, Sequence[Delivered]]:
        """Run every handler of one delivery, and return what each ended with.

        A failure is logged, counted and, with `enable_dead_letter_queue`, kept as a dead letter; it never raises.
        """
        ...


class StreamEndpoint(Protocol):
    """One stream query type that this process handles."""

    @property
    def message_type(self) -> MessageType:
        """The stream query's type."""
        ...

    def stream(self, query: Any, context: MessageContext, /) -> AsyncGenerator[Any, None]:
        """Return the items of one stream query, each made when it is asked for.

        The transport closes the generator when the asker leaves early, and cancels the task that fetches an item when the asker
        is cancelled or lost.

        Raises:
            CatgaError: What the handler failed with, also between items; `TIMEOUT` after the deadline.
        """
        ...


class Inbound(msgspec.Struct, frozen=True):
    """What a transport is to subscribe to.

    Args:
        service_name: This service; its replicas share each event's deliveries.
        requests: One endpoint for each request type handled here.
        events: One endpoint for each event type handled here.
        max_concurrent: How many messages of one subscription may be handled at the same time; one more request is
            answered with `CONCURRENCY_LIMITED` at once.
        streams: One endpoint for each stream query type handled here; none for a transport without the capability `streams`.
    """

    service_name: str
    requests: Sequence[RequestEndpoint]
    events: Sequence[EventEndpoint]
    max_concurrent: int
    streams: Sequence[StreamEndpoint] = ()
