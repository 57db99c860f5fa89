"""What follows a failed first attempt: further ones, for a limited time, and what is known of the write at their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ResponseError

from catga_core.clock import SystemClock
from catga_core.runtime import RetryPolicy
from catga_redis.engine.failures import LostError, NotSentError, UnconfirmedError, will_pass

_ATTEMPTS = RetryPolicy(max_attempts=None, delay_seconds=0.02, max_delay_seconds=0.5)
_REAL_TIME = SystemClock()  # a server recovers in real time, whatever the container's clock shows


class StoppedError(Exception):
    """The storage was stopped before another attempt."""


class Recovery:
    """The further attempts of one call.

    A call that was not sent has waited for a connection already, and fails. A server that refuses for now is asked again. Once
    an answer was lost, the write may have been applied, and only an answer of the server proves what became of it.

    Args:
        writes: Whether the call writes.
        again: Whether running it twice is the same as running it once.
        recover_timeout: Seconds to find out what became of it once an answer was lost.
        note: Called with each error.
    """

    def __init__(
        self, *, writes: bool, again: bool, recover_timeout: float, note: Callable[[Exception], None]
    ) -> None:
        self.writes: bool = writes
        self._again = again or not writes
        self._recover_timeout = recover_timeout
        self._note = note
        self._answer_lost = False
        self._trying = False
        self._limit = asyncio.timeout(None)
        self._last: Exception = NotSentError("no attempt was made")

    @property
    def lost(self) -> bool:
        """Whether the write may have been applied without an answer."""
        return self._answer_lost and self.writes

    async def run(self, attempt: Callable[[], Awaitable[Any]], failed: Exception, *, patience: float) -> Any:
        """Return what a further attempt returns.

        Args:
            attempt: Makes one attempt.
            failed: The error of the first.
            patience: Seconds to wait for a server that refuses for now.

        Raises:
            Exception: The error of the last attempt.
        """

        async def tried() -> Any:
            self._trying = True
            return await attempt()

        self._limit = asyncio.timeout(patience)
        try:
            async with self._limit:
                return await _ATTEMPTS.run(tried, retryable=self._may_pass, clock=_REAL_TIME, failed=failed)
        except TimeoutError:
            # An attempt that this ends may have been sent.
            self._answer_lost = self._answer_lost or self._trying
            raise self._last from None

    def _may_pass(self, error: Exception) -> bool:
        self._last, self._trying = error, False
        self._note(error)
        if isinstance(error, LostError):
            if not self._answer_lost:
                self._answer_lost = True
                self._limit.reschedule(asyncio.get_running_loop().time() + self._recover_timeout)
            return self._again
        if isinstance(error, NotSentError):
            return self._answer_lost
        if isinstance(error, UnconfirmedError | StoppedError):
            return False
        return isinstance(error, ResponseError) and will_pass(error, lost=self._answer_lost)
