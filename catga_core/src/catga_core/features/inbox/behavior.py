"""Deduplicates events: a handler sees each message id once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from catga_core.errors import CatgaError, MessageIdConflictError
from catga_core.features.inbox.counters import InboxCounters
from catga_core.interfaces.inbox import InboxStore
from catga_core.log import DUPLICATE_SKIPPED, logger
from catga_core.messages import message_type
from catga_core.messages.context import active_context
from catga_core.messages.fingerprints import fingerprint
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.stage import Stage
from catga_core.runtime.unit_of_work import open_unit_of_work


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

        Another event under a known id is not a duplicate: it fails with `CONFLICT`.
        """
        context = active_context.get()
        if context is None:
            return await next(message)
        content = _content(message, self._encode)
        if await self._inbox.record(context.message_id, self._handler, fingerprint=content):
            return await next(message)
        self._counters.skipped_duplicates += 1
        _log_duplicate(message, self._handler, context.message_id)
        return Success(None)


class OvertakenBehavior(Behavior[Any, Any]):
    """Succeeds for a delivery that failed because the same event was handled meanwhile, by another delivery of it.

    Where units of work meet at their commits only, as in Redis, both deliveries run, and the commit of one is refused. Its effects
    are rolled back then, and those of the other are kept: nothing is left to do.

    Args:
        inbox: The inbox, of the storage whose unit of work surrounds the handler.
        handler: The handler's name.
        counters: Counts the duplicates.
        encode: As of `InboxBehavior`.
    """

    # Around the unit of work, whose failure it has to see.
    stage: ClassVar[Stage] = Stage.IDEMPOTENCY

    def __init__(
        self, inbox: InboxStore, handler: str, counters: InboxCounters, encode: Callable[[object], bytes]
    ) -> None:
        self._inbox = inbox
        self._handler = handler
        self._counters = counters
        self._encode = encode

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return the result of the rest of the pipeline, and a success for one that was overtaken."""
        if open_unit_of_work() is not None:
            # The record of this delivery may be in it, whatever became of the handler.
            return await next(message)
        try:
            result = await next(message)
        except Exception as error:
            if await self._is_overtaken(message, error):
                return Success(None)
            raise
        if isinstance(result, Failure) and await self._is_overtaken(message, result.error):
            return Success(None)
        return result

    async def _is_overtaken(self, message: Any, error: Exception) -> bool:
        context = active_context.get()
        if context is None or isinstance(error, MessageIdConflictError):
            return False
        try:
            if not await self._inbox.seen(context.message_id, self._handler):
                return False
            # It has the same content, or this raises.
            content = _content(message, self._encode)
            await self._inbox.record(context.message_id, self._handler, fingerprint=content)
        except CatgaError:
            # The first error says more.
            return False
        self._counters.skipped_duplicates += 1
        _log_duplicate(message, self._handler, context.message_id)
        return True


def _content(message: object, encode: Callable[[object], bytes]) -> str:
    return fingerprint(message_type(type(message)), message, encode)


def _log_duplicate(message: object, handler: str, message_id: str) -> None:
    logger().info(
        DUPLICATE_SKIPPED, event_type=type(message).__name__, handler=handler, message_id=message_id
    )
