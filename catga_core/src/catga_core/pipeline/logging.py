"""One log line for each message: which, for how long, with what outcome; never what is in it."""

from __future__ import annotations

import asyncio
from logging import ERROR, INFO, WARNING
from typing import Any, ClassVar

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.errors.codes import is_fault
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, MESSAGE_HANDLED, logger, traceback_of
from catga_core.messages import message_type
from catga_core.messages.context import active_context
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.failures import failure_of
from catga_core.pipeline.stage import Stage


class LoggingBehavior(Behavior[Any, Any]):
    """Writes one line for each message, also for one that was cancelled.

    The line has the message's type, kind and ids, `duration_ms` and `outcome` (`handled`, `failed`, `cancelled`), and
    for a failure `code` and `error`. The level is `info`, `warning` for a failure, and `error` with the traceback
    where the code is `HANDLER_FAILED` or `INTERNAL_ERROR`. A field of the message is never in it.

    Args:
        clock: What the duration is measured with.
    """

    stage: ClassVar[Stage] = Stage.LOG

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._levels = _Levels()

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return what the rest of the pipeline gives, having written the line."""
        began = self._now()
        try:
            result = await next(message)
        except asyncio.CancelledError:
            if self._levels.writes(INFO):
                logger().info(MESSAGE_CANCELLED, **self._facts(message, began), outcome="cancelled")
            raise
        except Exception as raised:
            # An inner behavior raised: it becomes a result further out, but this is where its line is written.
            self._failed(message, began, failure_of(raised, "the pipeline").error)
            raise
        if isinstance(result, Failure):
            self._failed(message, began, result.error)
        elif self._levels.writes(INFO):
            logger().info(MESSAGE_HANDLED, **self._facts(message, began), outcome="handled")
        return result

    def _failed(self, message: Any, began: float, error: CatgaError) -> None:
        fault = is_fault(error.code)
        if not self._levels.writes(ERROR if fault else WARNING):
            return
        facts = self._facts(message, began)
        facts |= {"outcome": "failed", "code": error.code, "error": error.message}
        if fault:
            logger().error(MESSAGE_FAILED, **facts, stack=traceback_of(error.__cause__))
        else:
            logger().warning(MESSAGE_FAILED, **facts)

    def _facts(self, message: Any, began: float) -> dict[str, Any]:
        described = message_type(message.__class__)
        facts: dict[str, Any] = {
            "message_type": described.name,
            "kind": described.kind.value,
            "duration_ms": round((self._now() - began) * 1000, 3),
        }
        context = active_context.get()
        if context is not None:
            facts["message_id"] = context.message_id
            facts["correlation_id"] = context.correlation_id
            if context.causation_id is not None:
                facts["causation_id"] = context.causation_id
        return facts


class _Levels:
    """Knows which levels the application's structlog passes on, for a tenth of what a filtered line costs.

    Asked again only when the application configures another kind of logger. A logger without levels (the standard
    library's, whose levels change at any time) is taken to pass everything on, and filters by itself.
    """

    __slots__ = ("_config", "_passes", "_wrapper")

    def __init__(self) -> None:
        self._config: Any = None
        self._wrapper: Any = None
        self._passes: Any = None

    def writes(self, level: int) -> bool:
        if self._config is None:
            import structlog

            self._config = structlog.get_config
        wrapper = self._config()["wrapper_class"]
        if wrapper is not self._wrapper:
            self._passes = getattr(logger().inner.bind(), "is_enabled_for", None)
            self._wrapper = wrapper
        return self._passes is None or bool(self._passes(level))
