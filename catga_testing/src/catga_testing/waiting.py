"""Waiting in tests without sleeping for a guessed time."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, TypeVar, overload

from catga_core.option_checks import check_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class NotInTimeError(AssertionError):
    """What a test waited for did not happen in time; the text says what the last look showed."""


@overload
async def eventually(
    check: Callable[[], Awaitable[T]],
    *,
    within: float = 5.0,
    every: float = 0.01,
    message: str | None = None,
) -> T: ...
@overload
async def eventually(
    check: Callable[[], T],
    *,
    within: float = 5.0,
    every: float = 0.01,
    message: str | None = None,
) -> T: ...
async def eventually(
    check: Callable[[], object],
    *,
    within: float = 5.0,
    every: float = 0.01,
    message: str | None = None,
) -> object:
    """Wait until a check holds, and return its value.

    A check holds when it returns something true. One that raises an `Exception` does not hold yet. It is asked at least
    once; a coroutine that does not come back is cancelled at the deadline.

    Args:
        check: A function or a coroutine function without arguments.
        within: Seconds to wait.
        every: Seconds between two looks.
        message: What is waited for, in words, for the error.

    Returns:
        The true value.

    Raises:
        NotInTimeError: The check did not hold in time. Its text has the last value or exception; the exception is its cause.

    """
    check_seconds("within", within, least=0)
    check_seconds("every", every, least=0)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        last, error = await _look(check, deadline)
        if error is None and last:
            return last
        if loop.time() >= deadline:
            what = message or f"{getattr(check, '__qualname__', check)} did not hold"
            seen = f"it returned {last!r}" if error is None else f"it raised {type(error).__name__}: {error}"
            text = f"{what} within {within} s; at the last look {seen}"
            raise NotInTimeError(text) from error
        await asyncio.sleep(min(every, max(0.0, deadline - loop.time())))


async def _look(check: Callable[[], object], deadline: float) -> tuple[object, Exception | None]:
    try:
        value = check()
        if not inspect.isawaitable(value):
            return value, None
        async with asyncio.timeout_at(deadline):
            return await value, None
    # CancelledError is none of these: a cancelled test ends.
    except Exception as error:  # noqa: BLE001 - what is wrong now may be right at the next look
        return None, error
