"""Runs a step or a compensation: attempts, timeouts, and the identity that receivers see."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode, SagaTimeoutError
from catga_core.errors.codes import is_fault
from catga_core.log import SAGA_STEP_RETRIED, logger
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.runtime.retry import RetryPolicy

_LONGEST_ID: Final = 200


class Ended(msgspec.Struct, frozen=True):
    """The outcome of a step or a compensation.

    Args:
        value: Its result.
        error: The error of its last attempt, `None` if it succeeded.
        attempts: The number of attempts.
    """

    value: Any
    error: Exception | None
    attempts: int


class Attempts(msgspec.Struct, frozen=True):
    """The settings of a step's attempts.

    Args:
        transaction_id: The saga.
        name: The step's name.
        message_id: The id of the step, the same in every attempt and in every process.
        correlation_id: The conversation that the saga belongs to.
        traceparent: The trace that the saga belongs to.
        retry: Its retry policy.
        timeout: Seconds for one attempt, `None` for no limit.
    """

    transaction_id: str
    name: str
    message_id: str
    correlation_id: str
    traceparent: str | None
    retry: RetryPolicy
    timeout: float | None

    async def run(
        self,
        work: Callable[[], Any],
        clock: Clock,
        pause: Callable[[float], Awaitable[None]],
        time_left: Callable[[], float | None],
        failed: Exception | None = None,
    ) -> Ended:
        """Run the work until it succeeds or no further attempt is allowed.

        Args:
            work: One attempt; an awaitable result is awaited.
            clock: Measures timeouts.
            pause: Waits between two attempts.
            time_left: Returns the seconds left for all attempts, `None` for no limit.
            failed: The error of a first attempt by the caller, `None` if there was none.

        Returns:
            The outcome: a result, or the error of the last attempt.
        """
        attempt, error = 0, failed
        while True:
            attempt += 1
            if error is None:
                try:
                    return Ended(await self._attempt(work, clock, time_left()), None, attempt)
                except Exception as raised:  # noqa: BLE001 - it is recorded
                    error = raised
            if not (_may_help(error) and self.retry.allows(attempt)):
                return Ended(None, error, attempt)
            delay = self.retry.delay(attempt)
            logger().warning(
                SAGA_STEP_RETRIED,
                transaction_id=self.transaction_id,
                step=self.name,
                attempt=attempt,
                error=type(error).__name__,
                retry_in_seconds=round(delay, 3),
            )
            error = None
            await pause(delay)

    async def _attempt(self, work: Callable[[], Any], clock: Clock, left: float | None) -> Any:
        limit = self.timeout if left is None else left if self.timeout is None else min(left, self.timeout)
        bound = active_context.set(
            MessageContext(
                self.message_id, self.correlation_id, self.transaction_id, None, traceparent=self.traceparent
            )
        )
        try:
            found = work()
            if not inspect.isawaitable(found):
                return found
            if limit is None:
                return await found
            return await self._within(found, limit, clock)
        finally:
            active_context.reset(bound)

    async def _within(self, work: Awaitable[Any], limit: float, clock: Clock) -> Any:
        running = asyncio.ensure_future(work)
        timer = asyncio.ensure_future(clock.sleep(limit))
        try:
            await asyncio.wait([running, timer], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait([running])
                if running.cancelled():
                    text = f"The step {self.name!r} took longer than {limit:g} s. Its outcome is unknown."
                    raise SagaTimeoutError(text)
            return running.result()
        finally:
            timer.cancel()
            if not running.done():
                running.cancel()


def _may_help(error: Exception) -> bool:
    """Return whether another attempt may succeed.

    A command whose handler raised, or whose service is unavailable, fails with an error that callers do not retry by default; a saga
    outlives the restart of a service.
    """
    if not isinstance(error, CatgaError):
        return True
    return error.retryable or is_fault(error.code) or error.code == ErrorCode.HANDLER_NOT_FOUND


def step_id(transaction_id: str, key: str, direction: str) -> str:
    """Return the message id of a step, the same in every attempt and valid in every transport.

    Args:
        transaction_id: The saga.
        key: The step: its branch, name and occurrence.
        direction: `do` or `undo`.
    """
    text = f"{transaction_id}/{key}/{direction}"
    if len(text) <= _LONGEST_ID and text.isascii() and text.isprintable():
        return text
    return blake2b(text.encode(), digest_size=16).hexdigest()
