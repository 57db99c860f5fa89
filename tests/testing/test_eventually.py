"""`eventually` waits as long as needed, no longer than allowed, and says what it saw."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from catga_testing.waiting import NotInTimeError, eventually


async def test_it_returns_the_first_true_value() -> None:
    values = iter([0, None, "", "there", "later"])

    found = await eventually(lambda: next(values), every=0)

    assert found == "there"


async def test_a_coroutine_function_is_awaited() -> None:
    counter = itertools.count()

    async def third() -> bool:
        await asyncio.sleep(0)
        return next(counter) == 2

    assert await eventually(third, every=0) is True
    assert next(counter) == 3


async def test_a_check_that_raises_is_asked_again() -> None:
    counter = itertools.count()

    def fails_twice() -> str:
        if next(counter) < 2:
            raise ConnectionRefusedError
        return "connected"

    assert await eventually(fails_twice, every=0) == "connected"


async def test_a_check_is_asked_once_even_without_time() -> None:
    assert await eventually(lambda: 7, within=0) == 7


async def test_the_error_tells_what_was_waited_for_and_the_last_value() -> None:
    with pytest.raises(NotInTimeError, match=r"three orders within 0\.02 s; .* returned \[\]"):
        await eventually(list, within=0.02, message="three orders")


async def test_the_error_has_the_last_exception_as_its_cause() -> None:
    def refuse() -> bool:
        message = "not yet"
        raise LookupError(message)

    with pytest.raises(NotInTimeError, match="LookupError: not yet") as caught:
        await eventually(refuse, within=0.02)

    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_check_that_hangs_ends_at_the_deadline() -> None:
    never = asyncio.Event()
    began = time.monotonic()

    with pytest.raises(NotInTimeError):
        await eventually(never.wait, within=0.05)

    assert time.monotonic() - began < 2


async def test_a_timeout_inside_the_check_is_not_the_deadline() -> None:
    counter = itertools.count()

    async def times_out_once() -> bool:
        if next(counter) == 0:
            raise TimeoutError
        return True

    assert await eventually(times_out_once, every=0)


async def test_cancelling_the_caller_passes_through() -> None:
    asked = asyncio.Event()

    def never() -> bool:
        asked.set()
        return False

    waiting = asyncio.create_task(eventually(never, within=30))
    await asked.wait()

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
