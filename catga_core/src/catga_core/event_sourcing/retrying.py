"""Loads, changes and saves again while others are quicker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from catga_core.errors import CatgaError, ConcurrencyError, Outcome

T = TypeVar("T")

ATTEMPTS = 10
"""How often a change is tried while others change the same stream, unless it is said otherwise."""

_FIRST_WAIT = 0.001  # seconds; doubled with each attempt
_LONGEST_WAIT = 0.1


async def saved_with_retries(
    stream_id: str,
    attempts: int,
    change: Callable[[], Awaitable[T]],
    save: Callable[[T], Awaitable[None]],
) -> T:
    """Change and save; begin anew when another has saved first, and ask again when the outcome is not known.

    Parameters:
        stream_id: the stream that is saved.
        attempts: how often at most, 1 or more.
        change: loads what is to be saved and changes it.
        save: saves it; called again with the same it must not store anything twice.

    Returns:
        what was changed and saved.

    Raises:
        ValueError: for fewer than 1 attempt.
        ConcurrencyError: when others were quicker every time.
        CatgaError: `PERSISTENCE_FAILED` when it could not be saved, or the outcome stayed unknown.
    """
    if attempts < 1:
        msg = f"attempts={attempts} would do nothing: give 1 or more"
        raise ValueError(msg)
    for attempt in range(1, attempts):
        changed = await change()
        try:
            await _save_surely(changed, save, attempts)
        except ConcurrencyError as conflict:
            if conflict.stream_id != stream_id:
                raise
            await _wait(attempt)
        else:
            return changed
    changed = await change()
    try:
        await _save_surely(changed, save, attempts)
    except ConcurrencyError as conflict:
        if attempts > 1:
            conflict.add_note(f"after {attempts} attempts, each of which found that another was quicker")
        raise
    return changed


async def _save_surely(changed: T, save: Callable[[T], Awaitable[None]], attempts: int) -> None:
    """Save; where the store cannot tell whether it has, ask again: the events' ids make that safe."""
    for attempt in range(1, attempts):
        try:
            return await save(changed)
        except CatgaError as error:
            if error.outcome is not Outcome.UNKNOWN:
                raise
        await _wait(attempt)
    return await save(changed)


async def _wait(attempt: int) -> None:
    # Real time, and not the container's clock: it spreads those who met, in this process and in others.
    longest = min(_FIRST_WAIT * 2.0**attempt, _LONGEST_WAIT)
    await asyncio.sleep(random.random() * longest)  # noqa: S311 - chance, no secret
