"""Sends one message of the outbox, and decides what becomes of one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError, TransportError
from catga_core.features.dead_letters.letters import outbox_letter
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_core.interfaces.storage import Storage
from catga_core.log import DEAD_LETTER, OUTBOX_SEND_FAILED, logger
from catga_core.messages import Event, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself
from catga_core.runtime.retry import backoff

HandOver: TypeAlias = Callable[[MessageType, Event, MessageContext], Awaitable[None]]
"""Hands an event to the transport, or to this process's handlers where there is none; raises where it could not."""


class RetrySettings(msgspec.Struct, frozen=True):
    """When a message is tried again.

    Parameters:
        max_attempts: after so many tries it goes to the dead letters.
        first: seconds until the second try; doubled with each further one.
        longest: seconds between two tries at most.
    """

    max_attempts: int
    first: float
    longest: float


class Sending:
    """Sends messages of the outbox one at a time.

    Parameters:
        hand_over: sends an event.
        registry: knows the events' classes and upcasters.
        serializer: the container's.
        clock: the container's.
        settings: when a message is tried again.
        dead_letters: gives the store of dead letters as it is now.
        storage: gives the container's storage as it is now.
    """

    def __init__(
        self,
        hand_over: HandOver,
        registry: MessageRegistry,
        serializer: Serializer,
        clock: Clock,
        settings: RetrySettings,
        dead_letters: Callable[[], DeadLetterStore],
        storage: Callable[[], Storage],
    ) -> None:
        self._hand_over = hand_over
        self._registry = registry
        self._serializer = serializer
        self._clock = clock
        self._settings = settings
        self._dead_letters = dead_letters
        self._storage = storage
        self.sent: int = 0
        self.failed: int = 0
        self.dead: int = 0

    async def send(self, leased: LeasedMessage, outbox: OutboxStore) -> bool:
        """Send a message.

        Returns:
            whether it was sent; if not, it waits in the outbox for its next try, or is in the dead letters.
        """
        message = leased.message
        try:
            described, event = self._registry.decode(
                message.name, message.schema_version, message.format, message.data, self._serializer, Event
            )
            await self._hand_over(described, event, message.context)
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

    async def _after(self, leased: LeasedMessage, outbox: OutboxStore, error: CatgaError) -> None:
        attempts = leased.attempts + 1
        final = not error.retryable or attempts >= self._settings.max_attempts
        message = leased.message
        facts = {
            "event_type": message.name,
            "message_id": message.context.message_id,
            "attempts": attempts,
            "code": error.code,
            "error": error.message,
        }
        delay = backoff(attempts, first=self._settings.first, longest=self._settings.longest)
        try:
            if final and await self._bury(leased, outbox, error):
                self.dead += 1
                logger().error(DEAD_LETTER, **facts, source="outbox")
                return
        except Exception as also:  # noqa: BLE001 - it stays where it is, which is safe, and is tried once more
            facts["dead_letter"] = f"{type(also).__name__}: {also}"
        logger().warning(OUTBOX_SEND_FAILED, **facts, retry_in_seconds=round(delay, 3))
        try:
            await outbox.retry(leased, delay=delay, error=str(error))
        except Exception as also:  # noqa: BLE001 - its lease ends, and it is tried again then
            logger().warning(OUTBOX_SEND_FAILED, **facts, outbox=f"{type(also).__name__}: {also}")

    async def _bury(self, leased: LeasedMessage, outbox: OutboxStore, error: CatgaError) -> bool:
        """Move a message to the dead letters, in one transaction; `False` where another relay has taken it over."""
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
    """Another relay has the message: its letter must not be written."""
