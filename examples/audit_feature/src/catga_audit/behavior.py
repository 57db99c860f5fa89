"""The pipeline stage that audits one handler."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar
from uuid import uuid4

from catga_core import (
    Behavior,
    CatgaError,
    CatgaResult,
    Clock,
    ErrorCode,
    Failure,
    HandlerDefinition,
    Next,
    Stage,
    current_context,
)

from .entries import AuditEntry, AuditOutcome, AuditStore
from .trail import AuditTrail


class AuditBehavior(Behavior[Any, Any]):
    """Records each message of a handler, however its handling ends.

    It stands at `Stage.LOG`, outside of everything that can end a message: a message that validation refused, that
    timed out or that was answered with a recorded result is audited, retries make one entry, and the rollback of a
    unit of work leaves the entry.

    Args:
        handler: The handler.
        trail: Takes the entries.
        store: Where they belong.
        clock: The container's clock.
        actor_header: The header that names the sender.
    """

    stage: ClassVar[Stage] = Stage.LOG

    def __init__(
        self,
        handler: HandlerDefinition,
        trail: AuditTrail,
        store: AuditStore,
        clock: Clock,
        actor_header: str,
    ) -> None:
        self._handler = handler
        self._trail = trail
        self._store = store
        self._clock = clock
        self._actor_header = actor_header

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return the result of the rest of the pipeline, once its entry is taken."""
        try:
            result = await next(message)
        except asyncio.CancelledError:
            await self._record(AuditOutcome.CANCELLED)
            raise
        except Exception as error:
            code = error.code if isinstance(error, CatgaError) else ErrorCode.HANDLER_FAILED
            await self._record(AuditOutcome.FAILED, str(code))
            raise
        if isinstance(result, Failure):
            await self._record(AuditOutcome.FAILED, str(result.error.code))
        else:
            await self._record(AuditOutcome.SUCCEEDED)
        return result

    async def _record(self, outcome: AuditOutcome, code: str | None = None) -> None:
        context, described = current_context(), self._handler.message_type
        entry = AuditEntry(
            uuid4().hex,
            self._clock.time(),
            described.kind,
            described.name,
            self._handler.name,
            context.message_id,
            context.correlation_id,
            context.headers.get(self._actor_header),
            outcome,
            code,
        )
        await self._trail.record(self._store, entry)
