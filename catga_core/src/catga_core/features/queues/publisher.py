"""Publishes events into queues, and enqueues commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.clock import Clock
from catga_core.features.queues.definitions import Definitions, DeliveryOf
from catga_core.features.queues.results import ResultCodecs
from catga_core.interfaces.durable_transport import DurableTransport, command_queue
from catga_core.interfaces.outbox import OutboxMessage
from catga_core.interfaces.queue import QueuedMessage, QueueState
from catga_core.mediator.durable import Enqueued
from catga_core.messages import Event, Message, MessageType, Request
from catga_core.messages.compiled_encoders import CompiledEncoders
from catga_core.messages.delivery import Delivery, Priority
from catga_core.messages.message_context import MessageContext
from catga_core.messages.ordering import handling_key
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.scheduled import ScheduledId, parts_of, scheduled_as
from catga_core.messages.serializer import Serializer


class QueuePublisher:
    """Gives published events and enqueued commands to the durable transport.

    Args:
        transport: Returns the current durable transport.
        definitions: Defines the queues, for event classes that are first seen when they are published.
        delivery_of: How often messages of a type take effect.
        serializer: The container's serializer.
        clock: The container's clock.
        registry: Learns which classes are published, so that they can be decoded.
        results: Decodes kept results.
    """

    def __init__(
        self,
        transport: Callable[[], DurableTransport],
        definitions: Definitions,
        delivery_of: DeliveryOf,
        serializer: Serializer,
        clock: Clock,
        registry: MessageRegistry,
        results: ResultCodecs,
    ) -> None:
        self._transport = transport
        self._definitions = definitions
        self._delivery_of = delivery_of
        self._serializer = serializer
        self._clock = clock
        self._registry = registry
        self._results = results
        self._compiled = CompiledEncoders(serializer, registry)
        self._published: dict[type[Event], None] = {}
        # The transport that knows of them; another one may stand in for it later.
        self._declared_to: DurableTransport | None = None

    @property
    def remote(self) -> bool:
        """Whether events reach other services by the durable transport."""
        return self._transport().capabilities.remote

    @property
    def transactional(self) -> bool:
        """Whether what is published in a unit of work is part of it, so that the outbox is not needed."""
        return self._transport().capabilities.transactional

    def takes(self, described: MessageType) -> bool:
        """Return whether events of a type are kept in queues."""
        return self._delivery_of(described) is not Delivery.AT_MOST_ONCE

    async def publish(
        self,
        described: MessageType,
        event: Event,
        context: MessageContext,
        stored: OutboxMessage | None = None,
        /,
    ) -> None:
        """Publish an event; see `DurableMessages.publish`.

        Raises:
            SerializationError: The event cannot be encoded, or would not be read back as it is.
            CatgaError: It is not known to be kept.
        """
        transport = self._transport()
        cls = type(event)
        if cls not in self._published or transport is not self._declared_to:
            # Known once it is declared: others publish it meanwhile, and a declaration may fail.
            self._registry.use(cls)
            await transport.declare(self._definitions.events([*self._published, cls]))
            self._published[cls] = None
            self._declared_to = transport
        key = handling_key(event)
        if stored is not None and self._is_as_stored(described, stored):
            message = QueuedMessage(
                stored.name,
                stored.schema_version,
                stored.format,
                stored.data,
                context,
                0.0,
                self._clock.time(),
                key,
                Priority.NORMAL,
                stored.fingerprint,
            )
        else:
            message = self._message(described, event, context, key=key)
        await transport.publish(message)

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
            SerializationError: The command cannot be encoded, or would not be read back as it is.
            CatgaError: It is not known to be kept.
        """
        message = self._message(described, command, context, key=key, due_at=due_at or 0.0, priority=priority)
        await self._transport().enqueue(message)
        return scheduled_as(described.name, context.message_id)

    async def cancel(self, scheduled: ScheduledId, /) -> bool:
        """Cancel an enqueued command whose handler does not run; return whether it was cancelled."""
        name, message_id = parts_of(scheduled)
        return await self._transport().cancel(command_queue(name), message_id)

    async def enqueued(self, scheduled: ScheduledId, /) -> Enqueued | None:
        """Return the state of an enqueued command; `None` where it is not known any more."""
        name, message_id = parts_of(scheduled)
        entry = await self._transport().get(command_queue(name), message_id)
        if entry is None:
            return None
        result = self._results.decode(name, entry.result) if entry.state is QueueState.DONE else None
        return Enqueued(scheduled, entry.state, entry.attempts, entry.due_at, entry.error, result)

    def _is_as_stored(self, described: MessageType, stored: OutboxMessage) -> bool:
        """Return whether encoding an event again would only repeat what is stored."""
        return (
            stored.schema_version == described.version
            and stored.name == described.name
            and stored.format == self._serializer.name
            and bool(stored.fingerprint)
        )

    def _message(
        self,
        described: MessageType,
        message: Message,
        context: MessageContext,
        *,
        key: str | None,
        due_at: float = 0.0,
        priority: Priority = Priority.NORMAL,
    ) -> QueuedMessage:
        encode, fingerprint_of = self._compiled[type(message)]
        return QueuedMessage(
            name=described.name,
            schema_version=described.version,
            format=self._serializer.name,
            data=encode(message),
            context=context,
            due_at=due_at,
            created_at=self._clock.time(),
            key=key,
            priority=priority,
            fingerprint=fingerprint_of(message),
        )
