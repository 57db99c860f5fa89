"""`RetryPolicy`: how often to try again, and after which delay; runs what may fail."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from catga_core.clock import Clock
from catga_core.option_checks import is_number

T = TypeVar("T")

_MOST_DOUBLINGS = 64  # a larger exponent would leave the range of a float
_POLL_SPREAD = 0.2
_AT_ONCE_SECONDS = 0.001  # a wait that ended sooner was woken for something that another caller has taken


def _is_number(value: float, most: float) -> bool:
    return is_number(value) and 0 <= value <= most


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter, for everything that retries.

    Args:
        max_attempts: Attempts in total, the first one included; `None` for no limit.
        delay_seconds: Delay after the first failed attempt; doubled after each further one.
        max_delay_seconds: Upper limit of every delay.
        jitter: Share of each delay that is random, from 0 (none) to 1 (all of it). It spreads callers that failed
            together.

    Raises:
        ValueError: An argument is out of range; every problem is listed.
    """

    max_attempts: int | None = 3
    delay_seconds: float = 0.2
    max_delay_seconds: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Check the arguments."""
        attempts: object = self.max_attempts
        problems = [
            f"{name} must be a finite number >= 0; got {value!r}. Pass seconds."
            for name in ("delay_seconds", "max_delay_seconds")
            if not _is_number(value := getattr(self, name), math.inf)
        ]
        if attempts is not None and (type(attempts) is not int or attempts < 1):
            problems.append(
                f"max_attempts must be an int >= 1 or None; got {attempts!r}. Pass None for no limit."
            )
        if not _is_number(self.jitter, 1.0):
            problems.append(
                f"jitter must be a number from 0 to 1; got {self.jitter!r}. Pass the share that is random."
            )
        if problems:
            raise ValueError(" ".join(problems))

    def allows(self, attempts: int) -> bool:
        """Return whether another attempt may follow.

        Args:
            attempts: Attempts made so far.
        """
        return self.max_attempts is None or attempts < self.max_attempts

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: Number of the attempt that failed, from 1.
        """
        doublings = min(max(attempt, 1) - 1, _MOST_DOUBLINGS)
        full = min(self.max_delay_seconds, self.delay_seconds * 2.0**doublings)
        return full * (1.0 - self.jitter * random.random())  # noqa: S311 - spreads load, protects nothing

    async def run(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        retryable: Callable[[Exception], bool],
        clock: Clock,
        within: float | None = None,
        failed: Exception | None = None,
        on_retry: Callable[[Exception, float], object] | None = None,
    ) -> T:
        """Run attempts until one succeeds, fails for good, or the policy allows no further one.

        Cancellation ends the attempt or the delay, and is never retried.

        Args:
            attempt: Makes one attempt.
            retryable: Returns whether another attempt may help; called once with every error, the last one included.
            clock: Measures the delays and `within`: the container's clock, or `SystemClock()` for real time.
            within: Seconds of the clock from now; the last delay is shortened so that the last attempt begins then. `None` for no
                limit.
            failed: The error of a first attempt that the caller has made, so that a success costs no call of this method.
            on_retry: Called before each delay with the error and the seconds until the next attempt.

        Returns:
            What the successful attempt returned.

        Raises:
            Exception: The error of the last attempt.
        """
        ends_at = math.inf if within is None else clock.monotonic() + within
        error, attempts = failed, 0
        try:
            while True:
                attempts += 1
                if error is None:
                    try:
                        return await attempt()
                    except Exception as raised:  # noqa: BLE001 - raised again below unless it is retried
                        error = raised
                again = retryable(error) and self.allows(attempts)
                left = ends_at - clock.monotonic()
                if not again or left <= 0:
                    raise error
                delay = min(self.delay(attempts), left)
                if on_retry is not None:
                    on_retry(error, delay)
                error = None
                await clock.sleep(delay)
        finally:
            # The error refers to this frame by its traceback.
            error = failed = None


CONTENTION = RetryPolicy(max_attempts=None, delay_seconds=0.02, max_delay_seconds=0.02, jitter=0.9)
"""For callers that met: they ask again at different times."""


async def yield_to_winner(waited_since: float, *, most: float = math.inf) -> None:
    """Pause for up to 20 ms of random length after a wait that ended at once; otherwise return at once.

    Callers that are woken together ask together, and all but one lose; after the pause they ask again at different times.

    Args:
        waited_since: Time of the event loop when the wait began.
        most: Upper limit of the pause in real seconds.
    """
    if asyncio.get_running_loop().time() - waited_since < _AT_ONCE_SECONDS:
        await asyncio.sleep(min(CONTENTION.delay(1), most))


def jittered(seconds: float) -> float:
    """Return a duration within 20 % of another, so that workers that started together do not poll together.

    Args:
        seconds: The duration to spread.
    """
    return seconds * random.uniform(1.0 - _POLL_SPREAD, 1.0 + _POLL_SPREAD)  # noqa: S311 - spreads load
