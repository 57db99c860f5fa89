"""Sends one message of the outbox, and decides what happens to one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from catga_core.clock import Clock
from catga_core.errors import CatgaError, HandlerNotFoundError, TransportError
from catga_core.features.dead_letters.letters import outbox_letter
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.outbox import LeasedMessage, OutboxMessage, OutboxStore, ToEnqueue
from catga_core.interfaces.storage import Storage
from catga_core.log import DEAD_LETTER, OUTBOX_SEND_FAILED, logger
from catga_core.messages import Event, Message, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself
from catga_core.runtime.deliveries import delivering
from catga_core.runtime.retry import RetryPolicy

_BURST_SECONDS = 5.0

HandOver: TypeAlias = Callable[[MessageType, Event, MessageContext, OutboxMessage], Coroutine[Any, Any, None]]
"""Delivers an event to the transport, or to this process's handlers where there is none; raises if it fails."""

Enqueue: TypeAlias = Callable[[MessageType, Any, MessageContext, ToEnqueue], Coroutine[Any, Any, None]]
"""Enqueues a command; raises if it fails."""


class OutboxSender:
    """Sends messages of the outbox one at a time.

    Args:
        hand_over: Sends an event.
        enqueue: Enqueues a command.
        runs_handlers: Returns whether handlers may run while an event of a type is sent; one may cancel the task that it runs in.
        registry: Knows the events' classes and upcasters.
        serializer: The container's serializer.
        clock: The container's clock.
        retry: When a message is sent again; after its last attempt it goes to the dead letters.
        dead_letters: Returns the current dead-letter store.
        storage: Returns the current storage.
    """

    def __init__(
        self,
        hand_over: HandOver,
        enqueue: Enqueue,
        runs_handlers: Callable[[MessageType], bool],
        registry: MessageRegistry,
        serializer: Serializer,
        clock: Clock,
        retry: RetryPolicy,
        dead_letters: Callable[[], DeadLetterStore],
        storage: Callable[[], Storage],
    ) -> None:
        self._hand_over = hand_over
        self._enqueue = enqueue
        self._runs_handlers = runs_handlers
        self._registry = registry
        self._serializer = serializer
        self._clock = clock
        self._retry = retry
        self._dead_letters = dead_letters
        self._storage = storage
        # By event type and code: when a line was written, and how many were left out since.
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}
        self.sent: int = 0
        self.failed: int = 0
        self.dead: int = 0

    async def send(self, leased: LeasedMessage, outbox: OutboxStore) -> bool:
        """Send a message.

        Args:
            leased: The message.
            outbox: The store that it is from.

        Returns:
            Whether it was sent. If not, it waits in the outbox for its next attempt, or is in the dead letters.
        """
        message = leased.message
        try:
            described, decoded = self._registry.decode(
                message.name, message.schema_version, message.format, message.data, self._serializer, Message
            )
            sending = self._send(described, decoded, message)
            if message.enqueue is None and self._runs_handlers(described):
                await delivering(sending)
            else:
                await sending
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            error = cancelled_itself(message.name)
        except CatgaError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - whatever a transport raises is this message's failure
            text = f"{message.name} could not be sent: {type(raised).__name__}: {raised}"
            error = TransportError(text)
            error.__cause__ = raised
        else:
            self.sent += 1
            return True
        self.failed += 1
        await self._after(leased, outbox, error)
        return False

    def _send(self, described: MessageType, message: Any, stored: OutboxMessage) -> Coroutine[Any, Any, None]:
        if stored.enqueue is not None:
            return self._enqueue(described, message, stored.context, stored.enqueue)
        return self._hand_over(described, message, stored.context, stored)

    async def _after(self, leased: LeasedMessage, outbox: OutboxStore, error: CatgaError) -> None:
        attempts = leased.attempts + 1
        final = not (error.retryable and self._retry.allows(attempts))
        message = leased.message
        facts = {
            "event_type": message.name,
            "message_id": message.context.message_id,
            "attempts": attempts,
            "code": error.code,
            "error": error.message,
        }
        delay = self._retry.delay(attempts)
        try:
            if final and await self._bury(leased, outbox, error):
                self.dead += 1
                logger().error(DEAD_LETTER, **facts, source="outbox")
                return
        except Exception as also:  # noqa: BLE001 - it stays in the outbox, which is safe, and is sent again
            facts["dead_letter"] = f"{type(also).__name__}: {also}"
        if not isinstance(error, HandlerNotFoundError) or "dead_letter" in facts:
            # An event that waits for the process that handles it has not failed.
            self._log(message.name, error.code, {**facts, "retry_in_seconds": round(delay, 3)})
        try:
            await outbox.retry(leased, delay=delay, error=str(error))
        except Exception as also:  # noqa: BLE001 - its lease ends, and it is sent again then
            logger().warning(OUTBOX_SEND_FAILED, **facts, outbox=f"{type(also).__name__}: {also}")

    def _log(self, name: str, code: str, facts: dict[str, object]) -> None:
        """Log a failed attempt, once in a while for each event type and code: an outage fails every event again and again."""
        now, key = self._clock.monotonic(), (name, code)
        last, unlogged = self._logged.get(key, (float("-inf"), 0))
        if now - last < _BURST_SECONDS:
            self._logged[key] = last, unlogged + 1
            return
        self._logged[key] = now, 0
        logger().warning(OUTBOX_SEND_FAILED, **facts, unlogged=unlogged)

    async def _bury(self, leased: LeasedMessage, outbox: OutboxStore, error: CatgaError) -> bool:
        """Move a message to the dead letters in one transaction; return `False` if another relay has it."""
        letter = outbox_letter(leased, error, now=self._clock.time())
        try:
            async with self._storage().unit_of_work():
                await self._dead_letters().add(letter)
                if not await outbox.discard(leased):
                    raise _TakenOver  # noqa: TRY301 - it rolls the transaction back
        except _TakenOver:
            return False
        return True


class _TakenOver(Exception):  # noqa: N818 - control flow, never seen outside
    """Another relay has the message; its dead letter must not be written."""
