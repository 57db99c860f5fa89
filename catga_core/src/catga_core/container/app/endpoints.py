"""What a transport is given to serve: this container's requests and events."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from catga_core.mediator import CatgaMediator
from catga_core.messages import Message, MessageType, message_type
from catga_core.messages.message_context import MessageContext


class MediatorEndpoint:
    """One message type of this process: a `RequestEndpoint` or an `EventEndpoint`, handled through the mediator.

    Parameters:
        mediator: the container's.
        described: the message type.
    """

    __slots__ = ("_arrivals", "message_type")

    def __init__(self, mediator: CatgaMediator, described: MessageType) -> None:
        self._arrivals = mediator.arrivals
        self.message_type: MessageType = described

    @property
    def may_suspend(self) -> bool:
        """Whether handling may wait."""
        return self._arrivals.of(self.message_type).may_suspend

    def handle(self, message: Any, context: MessageContext, /) -> Coroutine[Any, Any, Any]:
        """Handle one message; a request's gives its result."""
        return self._arrivals.of(self.message_type).call(message, context)


def endpoints_of(mediator: CatgaMediator, classes: Iterable[type[Message]]) -> tuple[MediatorEndpoint, ...]:
    """Return one endpoint for each message class.

    Parameters:
        mediator: the container's.
        classes: what is handled here.
    """
    return tuple(MediatorEndpoint(mediator, message_type(cls)) for cls in classes)
