"""Records dead letters for events whose handler failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import PersistenceError
from catga_core.features.dead_letters.counters import DeadLetterCounters
from catga_core.features.dead_letters.letters import handler_letter
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.log import DEAD_LETTER, DEAD_LETTER_LOST, logger
from catga_core.mediator import leave_in_outbox
from catga_core.messages import message_type
from catga_core.messages.context import active_context, begin_event_context
from catga_core.messages.results import Failure
from catga_core.messages.serializer import Serializer


class FailedEvents:
    """Writes a dead letter for each event handler that failed.

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

    async def keep(self, event: Any, handler: str, failure: Failure[Any]) -> None:
        """Write a dead letter; one that cannot be written is logged as an error and counted.

        An event from the outbox stays there instead, and is sent again.

        Args:
            event: The event.
            handler: The name of the handler that failed.
            failure: The handler's result.
        """
        context = active_context.get() or begin_event_context()
        cls: Any = event.__class__
        facts = {
            "event_type": cls.__name__,
            "handler": handler,
            "message_id": context.message_id,
            "code": failure.error.code,
        }
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
            if leave_in_outbox(context.message_id, PersistenceError(text)):
                return
            self._counters.lost_dead_letters += 1
            logger().error(DEAD_LETTER_LOST, **facts, error=f"{type(error).__name__}: {error}")
            return
        self._counters.dead_letters += 1
        logger().info(DEAD_LETTER, **facts, letter_id=letter.id, source="handler")
