"""Timeouts of handlers, as deadlines that nested messages inherit."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError, Outcome, RequestTimeoutError
from catga_core.messages.context import active_context, begin_context
from catga_core.messages.results import CatgaResult, Failure
from catga_core.option_checks import check_seconds
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.dispatch import deadline_passed
from catga_core.pipeline.stage import Stage

_SYSTEM = SystemClock()


class TimeoutBehavior(Behavior[Any, Any]):
    """Cancels the rest of the pipeline at a deadline, with a failure of code `TIMEOUT`.

    The deadline is set in the message's context, so the messages that the handler sends inherit it, also in other
    processes; an earlier deadline of the message is kept. A message whose deadline has passed is not started. The error's
    `outcome` is `UNKNOWN` for a message that was started, and `NOT_STARTED` for one that was not.

    Args:
        seconds: Timeout of one message in seconds, more than 0.
        clock: Measures deadlines; the wait itself is the event loop's.

    Raises:
        ValueError: `seconds` is not a finite number above 0.
    """

    stage: ClassVar[Stage] = Stage.DEADLINE

    def __init__(self, seconds: float, clock: Clock = _SYSTEM) -> None:
        check_seconds("seconds", seconds, of="the timeout")
        self._seconds = float(seconds)
        self._now = clock.time

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Run the rest of the pipeline, with a failure of code `TIMEOUT` at the deadline."""
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
    return RequestTimeoutError(
        f"{name} timed out after {seconds:.3g} s and was cancelled. It may have taken effect; check before you retry.",
        outcome=Outcome.UNKNOWN,
        details={"seconds": seconds},
    )
