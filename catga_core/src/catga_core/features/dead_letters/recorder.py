"""Records dead letters for events whose handler failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError, PersistenceError
from catga_core.features.dead_letters.counters import DeadLetterCounters
from catga_core.features.dead_letters.letters import handler_letter, transport_letter
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.endpoints import Undecoded
from catga_core.log import DEAD_LETTER, DEAD_LETTER_LOST, logger
from catga_core.messages import message_type
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import Failure
from catga_core.messages.serializer import Serializer


class FailedEvents:
    """Writes a dead letter for each event handler that failed, and for each event that could not be decoded.

    Args:
        letters: Returns the current store.
        serializer: The container's serializer.
        clock: The container's clock.
        counters: Counts the dead letters, and those that could not be written.
    """

    def __init__(
        self,
        letters: Callable[[], DeadLetterStore],
        serializer: Serializer,
        clock: Clock,
        counters: DeadLetterCounters,
    ) -> None:
        self._letters = letters
        self._serializer = serializer
        self._clock = clock
        self._counters = counters

    async def keep(
        self, event: Any, context: MessageContext, handler: str, failure: Failure[Any], /
    ) -> CatgaError | None:
        """Write a dead letter; return why it could not be written.

        Args:
            event: The event.
            context: The event's.
            handler: The name of the handler that failed.
            failure: What it ended with.
        """
        cls: Any = event.__class__
        try:
            letter = handler_letter(
                message_type(cls),
                event,
                context,
                handler,
                failure.error,
                serializer=self._serializer,
                now=self._clock.time(),
            )
            await self._letters().add(letter)
        except Exception as error:  # noqa: BLE001 - the event's other handlers must go on
            text = (
                f"{cls.__name__} was not handled by {handler} ({failure.error.code}), and its dead letter could not be "
                f"written: {type(error).__name__}: {error}"
            )
            return PersistenceError(text)
        self._counters.dead_letters += 1
        logger().info(
            DEAD_LETTER,
            event_type=cls.__name__,
            handler=handler,
            message_id=context.message_id,
            code=failure.error.code,
            letter_id=letter.id,
            source="handler",
        )
        return None

    async def keep_undecoded(self, message: Undecoded, error: CatgaError, /) -> None:
        """Write the dead letter of an event that could not be decoded; count and log it where that fails.

        Args:
            message: What arrived.
            error: Why it could not be decoded.
        """
        facts = {"event_type": message.name, "message_id": message.context.message_id}
        try:
            letter = transport_letter(message, error, now=self._clock.time())
            await self._letters().add(letter)
        except Exception as also:  # noqa: BLE001 - the transport has nobody to tell
            self._counters.lost_dead_letters += 1
            text = f"{type(also).__name__}: {also}"
            logger().error(DEAD_LETTER_LOST, **facts, handler="", error=text)
            return
        self._counters.dead_letters += 1
        logger().info(
            DEAD_LETTER, **facts, handler="", code=error.code, letter_id=letter.id, source="transport"
        )

    def lost(self, event: Any, context: MessageContext, handler: str, error: CatgaError, /) -> None:
        """Count and log an event whose dead letter could not be written and that is not redelivered."""
        self._counters.lost_dead_letters += 1
        logger().error(
            DEAD_LETTER_LOST,
            event_type=type(event).__name__,
            handler=handler,
            message_id=context.message_id,
            error=error.message,
        )
