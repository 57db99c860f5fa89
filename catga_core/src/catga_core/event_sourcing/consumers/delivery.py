"""Delivers stored events to a consumer's handler, through its pipelines."""

from __future__ import annotations

from asyncio import CancelledError
from contextvars import ContextVar
from typing import Any

from catga_core.errors import CatgaError, LeaseLostError
from catga_core.interfaces.endpoints import HandlerEndpoint
from catga_core.interfaces.event_store import StoredEvent
from catga_core.mediator import Dispatcher
from catga_core.messages import message_type
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import Failure
from catga_core.pipeline import raised_of
from catga_core.runtime.cancellation import cancelled_itself
from catga_core.runtime.deliveries import cancelled_by_handler

_active_stored: ContextVar[StoredEvent] = ContextVar("catga_stored_event")


def current_stored_event() -> StoredEvent:
    """Return the stored event that a consumer's handler is called for.

    Raises:
        LookupError: Outside of a consumer's handler.
    """
    return _active_stored.get()


class ConsumerDelivery:
    """Delivers stored events to one consumer's handler.

    Args:
        dispatcher: Gives the endpoints.
        consumer: The consumer's key, as it was registered with the container.
    """

    def __init__(self, dispatcher: Dispatcher, consumer: str) -> None:
        self._dispatcher = dispatcher
        self._consumer = consumer
        self._endpoints: dict[type[Any], HandlerEndpoint] = {}

    async def deliver(self, stored: StoredEvent) -> None:
        """Deliver one event with its own identity, correlation, causation and headers as the context.

        Args:
            stored: The event.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` when it cannot be decoded.
            Exception: What its handler, a behavior or a scoped service raised or returned as a failure. A lease that the handler
                held itself and lost is not the consumer's: it is raised as a `CatgaError` of the same code.
        """
        event = stored.event
        cls = event.__class__
        endpoint = self._endpoints.get(cls)
        if endpoint is None:
            endpoint = self._dispatcher.consumer_endpoint(self._consumer, message_type(cls))
            self._endpoints[cls] = endpoint
        token = _active_stored.set(stored)
        try:
            result = await endpoint.handle(event, context_of(stored))
        except CancelledError as cancelled:
            if not cancelled_by_handler():
                raise
            raise cancelled_itself(self._consumer) from cancelled
        finally:
            _active_stored.reset(token)
        if isinstance(result, Failure):
            error = raised_of(result)
            if isinstance(error, LeaseLostError):
                raise CatgaError(error.message, code=error.code, details=error.details) from error
            raise error


def context_of(stored: StoredEvent) -> MessageContext:
    """Return the context of a stored event: what its handler sends continues its conversation.

    Args:
        stored: The event.
    """
    record = stored.recorded.record
    return MessageContext(
        record.message_id,
        record.correlation_id or record.message_id,
        record.causation_id,
        None,
        record.headers,
    )
