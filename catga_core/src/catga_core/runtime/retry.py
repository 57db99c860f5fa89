"""How long to wait before the next try."""

from __future__ import annotations

import random


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return seconds: doubled with each failure up to a longest, and scattered so that who fails together tries apart.

    Parameters:
        failures: how often it failed so far, from 1.
        first: seconds after the first failure.
        longest: seconds at most.
    """
    # Doubled at most so often that it stays a float.
    full = min(longest, first * 2.0 ** min(failures - 1, 64))
    return full * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def scattered(seconds: float) -> float:
    """Return a time within a fifth of another, so that workers that began together do not go on together."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
