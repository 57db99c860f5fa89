"""`RetryPolicy`: how often to try again, and after which delay."""

from __future__ import annotations

import math
import random

import msgspec

_MOST_DOUBLINGS = 64  # a larger exponent would leave the range of a float
_POLL_SPREAD = 0.2


def _is_number(value: object, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= most


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


CONTENTION = RetryPolicy(max_attempts=None, delay_seconds=0.02, max_delay_seconds=0.02, jitter=0.9)
"""Pause of callers that were woken together and lost the race: they ask again at different times."""


def jittered(seconds: float) -> float:
    """Return a duration within 20 % of another, so that workers that started together do not poll together.

    Args:
        seconds: The duration to spread.
    """
    return seconds * random.uniform(1.0 - _POLL_SPREAD, 1.0 + _POLL_SPREAD)  # noqa: S311 - spreads load


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return the delay after so many failures; to be replaced by `RetryPolicy.delay`."""
    return RetryPolicy(delay_seconds=first, max_delay_seconds=longest).delay(failures)


scattered = jittered  # to be replaced by `jittered`
