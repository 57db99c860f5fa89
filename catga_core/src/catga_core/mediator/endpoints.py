"""The endpoints of this process's handlers: each finds its pipeline once, until something changes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, TypeAlias

from catga_core.errors import CatgaError
from catga_core.interfaces.endpoints import Delivered, HandlerEndpoint, KeepUndecoded
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import Handle

DeliverInContext: TypeAlias = Callable[[Any, MessageContext], Coroutine[Any, Any, Sequence[Delivered]]]
"""Delivers an event in a given context; gives what each handler ended with."""


class Handling:
    """One handler of one message type: a `RequestEndpoint` and a `HandlerEndpoint`.

    Args:
        described: The message type.
        handler: The handler's name, empty for a request's.
        known: The handles that were found, by endpoint; cleared when something changes.
        find: Finds the handle of an endpoint.
    """

    __slots__ = ("_find", "_known", "handler", "message_type")

    validates: ClassVar[bool] = True

    def __init__(
        self,
        described: MessageType,
        handler: str,
        known: dict[Any, Handle],
        find: Callable[[Handling], Handle],
    ) -> None:
        self.message_type: MessageType = described
        self.handler: str = handler
        self._known = known
        self._find = find

    def handle(self, message: Any, context: MessageContext, /) -> Coroutine[Any, Any, CatgaResult[Any]]:
        """Handle one message through its whole pipeline."""
        try:
            handle = self._known[self]
        except KeyError:
            handle = self._find(self)
        return handle(message, context)


class EventDelivery:
    """One event type with handlers here: an `EventEndpoint`.

    Args:
        described: The event type.
        known: The deliveries that were found, by event class; cleared when something changes.
        find: Finds the delivery of an event type.
        handlers: Gives the endpoints of its handlers.
        keep_undecoded: Keeps an event of the type that a transport could not decode.
    """

    __slots__ = ("_find", "_handlers", "_known", "keep_undecoded", "message_type")

    validates: ClassVar[bool] = True

    def __init__(
        self,
        described: MessageType,
        known: dict[type[Any], DeliverInContext],
        find: Callable[[MessageType], DeliverInContext],
        handlers: Callable[[MessageType], Sequence[HandlerEndpoint]],
        keep_undecoded: KeepUndecoded,
    ) -> None:
        self.keep_undecoded: KeepUndecoded = keep_undecoded
        self.message_type: MessageType = described
        self._known = known
        self._find = find
        self._handlers = handlers

    @property
    def handlers(self) -> Sequence[HandlerEndpoint]:
        """The event's handlers one by one."""
        return self._handlers(self.message_type)

    def handle(self, event: Any, context: MessageContext, /) -> Coroutine[Any, Any, Sequence[Delivered]]:
        """Run every handler of one delivery."""
        try:
            deliver = self._known[self.message_type.cls]
        except KeyError:
            deliver = self._find(self.message_type)
        return deliver(event, context)


def failing(fail: Callable[[], CatgaError]) -> Handle:
    """Return a handle that fails every message.

    Args:
        fail: Creates an error for each message: raised by `unwrap()`, a shared one would collect their tracebacks.
    """

    async def handle(_message: Any, _context: MessageContext) -> CatgaResult[Any]:
        return Failure(fail())

    return handle
