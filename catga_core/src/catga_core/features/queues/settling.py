"""What becomes of a received message: it is done, delivered again, or goes to the dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.features.dead_letters.letters import queue_letter
from catga_core.features.queues.options import OnKeyFailure
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.durable_transport import DurableTransport, QueueDefinition, Received
from catga_core.interfaces.storage import Storage
from catga_core.log import DEAD_LETTER, KEY_HELD, MESSAGE_NOT_SETTLED, MESSAGE_RETRIED, logger
from catga_core.runtime.retry import RetryPolicy


class Counters(msgspec.Struct):
    """Counts since the container was built.

    Args:
        handled: Messages that were handled.
        retried: Attempts that failed and are repeated.
        dead: Messages that went to the dead letters.
    """

    handled: int = 0
    retried: int = 0
    dead: int = 0


class Settling:
    """Settles received messages.

    Args:
        transport: Returns the current durable transport.
        dead_letters: Returns the current dead-letter store.
        storage: Returns the current storage.
        clock: The container's clock.
        retry: When a message is delivered again.
        on_failure: What happens to later messages of a key.
    """

    def __init__(
        self,
        transport: Callable[[], DurableTransport],
        dead_letters: Callable[[], DeadLetterStore],
        storage: Callable[[], Storage],
        clock: Clock,
        retry: RetryPolicy,
        on_failure: OnKeyFailure,
    ) -> None:
        self._transport = transport
        self._dead_letters = dead_letters
        self._storage = storage
        self._clock = clock
        self._retry = retry
        self._on_failure = on_failure
        self.counters: Counters = Counters()

    def allows(self, attempt: int) -> bool:
        """Return whether an attempt may be made."""
        return attempt == 1 or self._retry.allows(attempt - 1)

    async def done(self, received: Received, result: bytes | None) -> None:
        """Record that a message was handled; if that fails, it is delivered again after its lease."""
        try:
            await self._transport().complete(received, result=result)
        except CatgaError as error:
            _not_settled(received, error)
        else:
            self.counters.handled += 1

    async def give_back(self, received: Received) -> None:
        """Have a message delivered again at once, without counting the attempt."""
        try:
            await self._transport().release([received])
        except CatgaError as error:
            _not_settled(received, error)

    async def failed(
        self, definition: QueueDefinition, received: Received, error: CatgaError, *, retryable: bool
    ) -> None:
        """Have a failed message delivered again, or write its dead letter.

        Args:
            definition: Its queue.
            received: The message.
            error: The error.
            retryable: Whether another attempt may succeed.
        """
        attempt = received.attempt
        delay = self._retry.delay(attempt)
        facts: dict[str, Any] = {
            "queue": received.queue,
            "message": received.message.name,
            "message_id": received.message.context.message_id,
            "attempts": attempt,
            "code": error.code,
            "error": error.message,
        }
        if not (retryable and self._retry.allows(attempt)):
            try:
                buried = await self._bury(definition, received, error)
            except Exception as also:  # noqa: BLE001 - it stays in the queue, which is safe, and is delivered again
                facts["dead_letter"] = f"{type(also).__name__}: {also}"
            else:
                if buried:
                    self._buried(received, facts)
                return
        self.counters.retried += 1
        logger().warning(MESSAGE_RETRIED, **facts, retry_in_seconds=round(delay, 3))
        try:
            await self._transport().retry(received, delay=delay, error=f"{error.code}: {error.message}")
        except CatgaError as also:
            _not_settled(received, also)

    async def _bury(self, definition: QueueDefinition, received: Received, error: CatgaError) -> bool:
        """Write the dead letter, then remove the message; return `False` if another process has it."""
        transport, letters = self._transport(), self._dead_letters()
        letter = queue_letter(received, definition.handler, error, now=self._clock.time())
        hold_key = self._on_failure is OnKeyFailure.PARK_KEY and received.message.key is not None
        if not transport.capabilities.transactional:
            # First kept, then removed: a crash between the two repeats the message, which loses nothing.
            await letters.add(letter)
            return await transport.discard(received, hold_key=hold_key)
        try:
            async with self._storage().unit_of_work():
                await letters.add(letter)
                if not await transport.discard(received, hold_key=hold_key):
                    raise _TakenOver  # noqa: TRY301 - it rolls the transaction back
        except _TakenOver:
            return False
        return True

    def _buried(self, received: Received, facts: dict[str, Any]) -> None:
        self.counters.dead += 1
        logger().error(DEAD_LETTER, **facts, source="queue")
        if self._on_failure is OnKeyFailure.PARK_KEY and received.message.key is not None:
            logger().warning(KEY_HELD, queue=received.queue, message_id=received.message.context.message_id)


def _not_settled(received: Received, error: CatgaError) -> None:
    logger().warning(
        MESSAGE_NOT_SETTLED,
        queue=received.queue,
        message_id=received.message.context.message_id,
        error=str(error),
    )


class _TakenOver(Exception):  # noqa: N818 - control flow, never seen outside
    """Another process has the message; its dead letter must not be written."""
