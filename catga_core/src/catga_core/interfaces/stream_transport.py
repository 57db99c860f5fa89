"""The port of asking stream queries of other processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar, runtime_checkable

from catga_core.interfaces.port import port
from catga_core.interfaces.transport_lifecycle import TransportLifecycle
from catga_core.messages import MessageType, StreamQuery
from catga_core.messages.message_context import MessageContext

T = TypeVar("T")


@port("stream_transport")
@runtime_checkable
class StreamTransport(TransportLifecycle, Protocol):
    """Carries each stream query to the one process that handles it, and its items back."""

    def stream(
        self, message_type: MessageType, query: StreamQuery[T], context: MessageContext, /
    ) -> AsyncGenerator[T, None]:
        """Ask exactly one process that handles a stream query, and return its items as they come.

        The responder never has more than a bounded number of items out that were not consumed. Closing the generator, and
        cancelling the task that waits for an item, end the handler's generator promptly.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` at once without a responder, `TIMEOUT` at `context.deadline`, `TRANSPORT_FAILED` for
                a responder or a connection that was lost, and what the handler failed with, also between items. Items
                that arrived before are yielded first, except after the deadline.
        """
        ...
