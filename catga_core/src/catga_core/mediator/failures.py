"""What becomes of an event that a handler failed for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.errors.codes import is_fault
from catga_core.interfaces.endpoints import Delivered
from catga_core.log import EVENT_HANDLER_FAILED, logger, traceback_of
from catga_core.mediator.routes import FailureSink
from catga_core.messages.context import active_context, begin_event_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure


class FailedDeliveries:
    """Counts the event handlers that failed and writes a line for each; a payload is never written.

    The line is an error with the traceback for `HANDLER_FAILED` and `INTERNAL_ERROR`, else a warning.

    Attributes:
        count: How many deliveries to a handler failed so far.
        watchers: Called with event, handler, failure and context of each failure; a test host puts its own in.
    """

    __slots__ = ("count", "watchers")

    def __init__(self) -> None:
        self.count: int = 0
        self.watchers: list[Callable[[Any, str, CatgaResult[Any], MessageContext | None], None]] = []

    def record(
        self, event: Any, handler: str, failure: CatgaResult[Any], context: MessageContext | None
    ) -> None:
        """Record that a handler failed for an event.

        Args:
            event: The event; only its type is written.
            handler: The handler's name.
            failure: What it ended with.
            context: The event's, `None` where it has none.
        """
        self.count += 1
        for watch in self.watchers:
            watch(event, handler, failure, context)
        error = failure.error
        facts = {
            "event_type": type(event).__name__,
            "handler": handler,
            "code": error.code,
            "error": error.message,
            "message_id": None if context is None else context.message_id,
            "correlation_id": None if context is None else context.correlation_id,
        }
        if is_fault(error.code):
            logger().error(EVENT_HANDLER_FAILED, **facts, stack=traceback_of(error.__cause__))
        else:
            logger().warning(EVENT_HANDLER_FAILED, **facts)


class Settling:
    """Settles the failures of one event type's handlers: each is recorded and, with a sink, kept.

    Args:
        failed: Counts and logs failures.
        sink: Keeps failed events, `None` for none.
        report: Whether failures that could not be kept are recorded as lost; otherwise they are redelivered.
    """

    __slots__ = ("_failed", "_report", "_sink")

    def __init__(self, failed: FailedDeliveries, sink: FailureSink | None, *, report: bool) -> None:
        self._failed = failed
        self._sink = sink
        self._report = report

    async def settle(
        self, event: Any, context: MessageContext | None, handler: str, failure: Failure[Any]
    ) -> Delivered:
        """Record a handler's failure and keep its event; return what to report of it."""
        context = context or active_context.get()
        self._failed.record(event, handler, failure, context)
        if self._sink is None:
            return Delivered(handler, failure)
        known = context or begin_event_context()
        unkept = await self._sink.keep(event, known, handler, failure)
        if unkept is not None and self._report:
            self._sink.lost(event, known, handler, unkept)
        return Delivered(handler, failure, unkept)
