"""Stores events that are published in a unit of work, in the same transaction."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.outbox import OutboxMessage, OutboxStore, ToEnqueue
from catga_core.interfaces.storage import Storage, UnitOfWork
from catga_core.messages import Event, MessageType, Request
from catga_core.messages.compiled_encoders import CompiledEncoders
from catga_core.messages.message_context import MessageContext
from catga_core.messages.ordering import key_of
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.runtime.unit_of_work import joined_unit_of_work


class OutboxWriter:
    """Writes events that are published in a unit of work to the outbox.

    Args:
        outbox: The store.
        storage: The store's storage.
        serializer: The container's serializer.
        clock: The container's clock.
        registry: Learns which classes are published, so that the relay can decode them.
    """

    __slots__ = ("_clock", "_compiled", "_conversations", "_outbox", "_serializer", "_storage")

    def __init__(
        self,
        outbox: OutboxStore,
        storage: Storage,
        serializer: Serializer,
        clock: Clock,
        registry: MessageRegistry,
    ) -> None:
        self._outbox = outbox
        self._storage = storage
        self._serializer = serializer
        self._clock = clock
        self._compiled = CompiledEncoders(serializer, registry)
        self._conversations: WeakKeyDictionary[UnitOfWork, str] = WeakKeyDictionary()

    def applies(self) -> bool:
        """Return whether the running task is in a unit of work of the storage.

        Raises:
            PersistenceError: The unit of work that the task was started in has ended.
        """
        return joined_unit_of_work(self._storage) is not None

    async def store(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        """Store one event; it is sent after the commit of the unit of work.

        Args:
            described: The event's type.
            event: The event.
            context: Its context.

        Raises:
            SerializationError: The event cannot be encoded, or would not be read back as it is.
            MessageIdConflictError: The outbox has another event under the message id.
            PersistenceError: The outbox cannot be written.
        """
        message = self._message(described, event, context, key_of(event, self._conversation_of(context)))
        await self._outbox.add([message])

    async def store_command(
        self, described: MessageType, command: Request[Any], context: MessageContext, enqueue: ToEnqueue, /
    ) -> None:
        """Store one command; it is enqueued after the commit of the unit of work.

        Args:
            described: The command's type.
            command: The command.
            context: Its context.
            enqueue: How it is enqueued.

        Raises:
            SerializationError: The command cannot be encoded, or would not be read back as it is.
            MessageIdConflictError: The outbox has another message under the message id.
            PersistenceError: The outbox cannot be written.
        """
        message = self._message(described, command, context, self._conversation_of(context))
        await self._outbox.add([msgspec.structs.replace(message, enqueue=enqueue)])

    def _message(
        self, described: MessageType, message: Event | Request[Any], context: MessageContext, key: str | None
    ) -> OutboxMessage:
        encode, fingerprint_of = self._compiled[type(message)]
        return OutboxMessage(
            name=described.name,
            schema_version=described.version,
            format=self._serializer.name,
            data=encode(message),
            context=context,
            key=key,
            created_at=self._clock.time(),
            fingerprint=fingerprint_of(message),
        )

    def _conversation_of(self, context: MessageContext) -> str:
        if context.causation_id is not None:
            return context.correlation_id
        # Outside of any message each event has its own correlation id; the events of one unit of work stay in order.
        unit: UnitOfWork = joined_unit_of_work(self._storage)
        return self._conversations.setdefault(unit, context.correlation_id)
