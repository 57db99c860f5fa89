"""Loads, changes and saves again after a conflict."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from catga_core.errors import CatgaError, ConcurrencyError, Outcome
from catga_core.runtime.retry import RetryPolicy

T = TypeVar("T")

ATTEMPTS = 10
"""Default number of attempts to change a stream that other writers change as well."""

_FIRST_DELAY_SECONDS = 0.002
_MAX_DELAY_SECONDS = 0.1


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
    if attempts < 1:
        msg = f"attempts must be an int >= 1; got {attempts}. Pass 1 to try once."
        raise ValueError(msg)
    policy, attempt = _policy(attempts), 1
    while True:
        changed = await change()
        try:
            await _save_surely(changed, save, policy)
        except ConcurrencyError as conflict:
            if conflict.stream_id != stream_id:
                raise
            if not policy.allows(attempt):
                if attempts > 1:
                    conflict.add_note(f"Gave up after {attempts} attempts, each of which met another writer.")
                raise
        else:
            return changed
        await _pause(policy, attempt)
        attempt += 1


@functools.lru_cache(maxsize=32)
def _policy(attempts: int) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=attempts,
        delay_seconds=_FIRST_DELAY_SECONDS,
        max_delay_seconds=_MAX_DELAY_SECONDS,
        jitter=1.0,
    )


async def _save_surely(changed: T, save: Callable[[T], Awaitable[None]], policy: RetryPolicy) -> None:
    """Save, again after an unknown outcome: the events' ids make that safe."""
    attempt = 1
    while True:
        try:
            return await save(changed)
        except CatgaError as error:
            if error.outcome is not Outcome.UNKNOWN or not policy.allows(attempt):
                raise
        await _pause(policy, attempt)
        attempt += 1


async def _pause(policy: RetryPolicy, attempt: int) -> None:
    # Real time, not the container's clock: it spreads writers that met, in this process and in others.
    await asyncio.sleep(policy.delay(attempt))
