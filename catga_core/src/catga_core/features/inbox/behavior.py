"""Keeps an event that comes twice from having its effect twice."""

from __future__ import annotations

from typing import Any, ClassVar

from catga_core.features.counters import Counters
from catga_core.interfaces.inbox import InboxStore
from catga_core.log import DUPLICATE_SKIPPED, logger
from catga_core.messages.context import active_context
from catga_core.messages.results import CatgaResult, Success
from catga_core.pipeline.behavior import Behavior, Next


class InboxBehavior(Behavior[Any, Any]):
    """Notes (message id, handler) in the handler's unit of work, and passes over what was noted before.

    A handler that fails is rolled back together with its note, so that the event can be delivered again.

    Parameters:
        inbox: where to note it; the storage's that the surrounding unit of work is of.
        handler: the handler's name, which with the message id makes the note.
        counters: told of each duplicate.
    """

    order: ClassVar[int] = -40
    uses_context: ClassVar[bool] = True

    def __init__(self, inbox: InboxStore, handler: str, counters: Counters) -> None:
        self._inbox = inbox
        self._handler = handler
        self._counters = counters

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return what the rest of the pipeline gives, or at once a success for a duplicate."""
        context = active_context.get()
        if context is None or await self._inbox.record(context.message_id, self._handler):
            return await next(message)
        self._counters.skipped_duplicates += 1
        logger().info(
            DUPLICATE_SKIPPED,
            event_type=type(message).__name__,
            handler=self._handler,
            message_id=context.message_id,
        )
        return Success(None)
