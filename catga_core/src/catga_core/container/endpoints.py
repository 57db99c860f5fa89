"""What a transport is given to serve: this container's requests and events."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from catga_core.interfaces.context import MessageContext
from catga_core.mediator import CatgaMediator
from catga_core.messages import Message, MessageType, message_type
from catga_core.results import CatgaResult


class MediatorRequestEndpoint:
    """One request type, handled through the mediator."""

    __slots__ = ("_arrivals", "message_type")

    def __init__(self, mediator: CatgaMediator, described: MessageType) -> None:
        self._arrivals = mediator.arrivals
        self.message_type: MessageType = described

    @property
    def may_suspend(self) -> bool:
        """Whether handling may wait."""
        return self._arrivals.of(self.message_type).may_suspend

    def handle(self, message: Any, context: MessageContext, /) -> Coroutine[Any, Any, CatgaResult[Any]]:
        """Handle one request."""
        return self._arrivals.of(self.message_type).call(message, context)


class MediatorEventEndpoint:
    """One event type, delivered through the mediator."""

    __slots__ = ("_arrivals", "message_type")

    def __init__(self, mediator: CatgaMediator, described: MessageType) -> None:
        self._arrivals = mediator.arrivals
        self.message_type: MessageType = described

    @property
    def may_suspend(self) -> bool:
        """Whether handling may wait."""
        return self._arrivals.of(self.message_type).may_suspend

    def handle(self, event: Any, context: MessageContext, /) -> Coroutine[Any, Any, None]:
        """Deliver one event to every handler of this process."""
        return self._arrivals.of(self.message_type).call(event, context)


def request_endpoints(
    mediator: CatgaMediator, classes: Iterable[type[Message]]
) -> tuple[MediatorRequestEndpoint, ...]:
    """Return one endpoint for each request class."""
    return tuple(MediatorRequestEndpoint(mediator, message_type(cls)) for cls in classes)


def event_endpoints(
    mediator: CatgaMediator, classes: Iterable[type[Message]]
) -> tuple[MediatorEventEndpoint, ...]:
    """Return one endpoint for each event class."""
    return tuple(MediatorEventEndpoint(mediator, message_type(cls)) for cls in classes)
