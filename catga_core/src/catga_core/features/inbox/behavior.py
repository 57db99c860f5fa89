"""Deduplicates events: a handler sees each message id once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from catga_core.features.inbox.counters import InboxCounters
from catga_core.interfaces.inbox import InboxStore
from catga_core.log import DUPLICATE_SKIPPED, logger
from catga_core.messages import message_type
from catga_core.messages.context import active_context
from catga_core.messages.fingerprints import fingerprint
from catga_core.messages.results import CatgaResult, Success
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.stage import Stage


class InboxBehavior(Behavior[Any, Any]):
    """Records (message id, handler) in the handler's unit of work, and skips what was recorded before.

    The record of a handler that fails is rolled back with its effect, so that the event can be delivered again.

    Args:
        inbox: The inbox, of the storage whose unit of work surrounds the handler.
        handler: The handler's name.
        counters: Counts the duplicates.
        encode: Encodes what a fingerprint cannot be made of otherwise: the container's serializer.
    """

    stage: ClassVar[Stage] = Stage.INBOX

    def __init__(
        self, inbox: InboxStore, handler: str, counters: InboxCounters, encode: Callable[[object], bytes]
    ) -> None:
        self._inbox = inbox
        self._handler = handler
        self._counters = counters
        self._encode = encode

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return the result of the rest of the pipeline; for a duplicate, a success at once.

        Another event under a known id is no duplicate: it fails with `CONFLICT`.
        """
        context = active_context.get()
        if context is None:
            return await next(message)
        content = fingerprint(message_type(type(message)), message, self._encode)
        if await self._inbox.record(context.message_id, self._handler, fingerprint=content):
            return await next(message)
        self._counters.skipped_duplicates += 1
        logger().info(
            DUPLICATE_SKIPPED,
            event_type=type(message).__name__,
            handler=self._handler,
            message_id=context.message_id,
        )
        return Success(None)
