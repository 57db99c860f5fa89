"""Ends the handling of a message that takes too long, and tells everyone it sends to until when."""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar

import msgspec

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.messages.context import active_context, begin_context
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.dispatch import deadline_passed
from catga_core.pipeline.stage import Stage

_SYSTEM = SystemClock()


class TimeoutBehavior(Behavior[Any, Any]):
    """Cancels the rest of the pipeline when its time is over, and answers with a failure of code `TIMEOUT`.

    The deadline stands in the message's context, so what the handler sends inherits it, to other processes too; an
    earlier one that the message came with stays. A message whose deadline has passed is not started. The error's
    `details["outcome"]` tells which of the two it was: `unknown` of what was started, else `not_started`.

    Args:
        seconds: How long a message may take, more than 0.
        clock: What deadlines are told by; the waiting itself is the event loop's.

    Raises:
        ValueError: For seconds that are no finite number above 0.
    """

    stage: ClassVar[Stage] = Stage.DEADLINE

    def __init__(self, seconds: float, clock: Clock = _SYSTEM) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError(_unusable(type(seconds).__name__))  # noqa: TRY004 - one error for whatever is not possible
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(_unusable(str(seconds)))
        self._seconds = float(seconds)
        self._now = clock.time

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return what the rest of the pipeline gives in time, or a failure of code `TIMEOUT`."""
        context = active_context.get()
        now = self._now()
        seconds, deadline = self._seconds, now + self._seconds
        if context is None:
            context = begin_context(deadline=deadline)
        elif context.deadline is None or deadline < context.deadline:
            context = msgspec.structs.replace(context, deadline=deadline)
        else:
            seconds = context.deadline - now
            if seconds <= 0:
                return Failure(deadline_passed(type(message).__name__))
        limit = asyncio.timeout(seconds)
        token = active_context.set(context)
        try:
            async with limit:
                return await next(message)
        except TimeoutError:
            if not limit.expired():
                raise
            return Failure(_timed_out(type(message).__name__, seconds))
        finally:
            active_context.reset(token)


def _timed_out(name: str, seconds: float) -> CatgaError:
    return CatgaError(
        f"{name} timed out after {seconds:.3g} s: it was cancelled, and whether it had its effect is unknown",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "unknown", "seconds": seconds},
    )


def _unusable(found: str) -> str:
    return (
        f"a timeout must be a finite number of seconds above 0, is {found}; for no limit leave it out (None)"
    )
