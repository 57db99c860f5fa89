"""Loads, changes and saves again after a conflict."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from catga_core.clock import SystemClock
from catga_core.errors import CatgaError, ConcurrencyError, Outcome
from catga_core.option_checks import check_count
from catga_core.runtime.retry import RetryPolicy

T = TypeVar("T")

ATTEMPTS = 10
"""Default number of attempts to change a stream that other writers change as well."""

_FIRST_DELAY_SECONDS = 0.002
_MAX_DELAY_SECONDS = 0.1
_REAL_TIME = (
    SystemClock()
)  # not the container's: the delays spread writers that met, in this process and in others


async def saved_with_retries(
    stream_id: str,
    attempts: int,
    change: Callable[[], Awaitable[T]],
    save: Callable[[T], Awaitable[None]],
) -> T:
    """Change and save; start again after a conflict, and save again after an unknown outcome.

    Args:
        stream_id: The stream that is saved.
        attempts: Maximum number of attempts, 1 or more.
        change: Loads what is to be saved and changes it.
        save: Saves it; called again with the same it must not store anything twice.

    Returns:
        What was changed and saved.

    Raises:
        ValueError: `attempts` is less than 1.
        ConcurrencyError: Every attempt met a conflict.
        PersistenceError: It could not be saved, or the outcome stayed unknown.
    """
    check_count("attempts", attempts)
    policy = _policy(attempts)
    saving = False

    async def once() -> T:
        nonlocal saving
        saving = False
        changed = await change()
        saving = True
        # The events' ids make it safe to save them again after an unknown outcome.
        await policy.run(lambda: save(changed), retryable=_is_unknown, clock=_REAL_TIME)
        return changed

    def is_conflict(error: Exception) -> bool:
        return saving and isinstance(error, ConcurrencyError) and error.stream_id == stream_id

    try:
        return await policy.run(once, retryable=is_conflict, clock=_REAL_TIME)
    except ConcurrencyError as conflict:
        if attempts > 1 and is_conflict(conflict):
            conflict.add_note(f"Gave up after {attempts} attempts, each of which met another writer.")
        raise


@functools.lru_cache(maxsize=32)
def _policy(attempts: int) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=attempts,
        delay_seconds=_FIRST_DELAY_SECONDS,
        max_delay_seconds=_MAX_DELAY_SECONDS,
        jitter=1.0,
    )


def _is_unknown(error: Exception) -> bool:
    return isinstance(error, CatgaError) and error.outcome is Outcome.UNKNOWN
