from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from catga_core import CatgaResult, Command, Failure, MessageContext, Success
from catga_core.errors import CatgaError, RequestTimeoutError
from catga_core.messages.context import active_context, begin_context
from catga_core.pipeline.timeout import TimeoutBehavior

NOW = 1_000_000.0
SOON = 0.01


class Reserve(Command[int]):
    sku: str = "lamp"


class StoppedClock:
    def __init__(self, time: float = NOW) -> None:
        self._time = time

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._time, UTC)

    def time(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


async def at_once(message: Any) -> CatgaResult[int]:
    return Success(1)


async def never(message: Any) -> CatgaResult[int]:
    await asyncio.Event().wait()
    raise AssertionError("not reached")


def context(deadline: float | None = None) -> MessageContext:
    return MessageContext("m-1", "c-1", None, deadline)


async def test_a_message_in_time_gives_its_own_result():
    assert await TimeoutBehavior(60).handle(Reserve(), at_once) == Success(1)


async def test_the_rest_is_cancelled_when_its_time_is_over():
    cancelled = asyncio.Event()

    async def waits(message: Any) -> CatgaResult[int]:
        try:
            return await never(message)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await TimeoutBehavior(SOON).handle(Reserve(), waits)

    assert cancelled.is_set()


async def test_timed_out_message_has_an_unknown_outcome():
    error = (await TimeoutBehavior(SOON).handle(Reserve(), never)).error

    assert error.code == "TIMEOUT"
    assert error.retryable
    assert type(error) is RequestTimeoutError
    assert "Reserve" in error.message
    assert "0.01 s" in error.message
    assert error.details == {"outcome": "unknown", "seconds": SOON}


async def test_a_timeout_error_of_the_inside_stays_its_own():
    async def times_out_itself(message: Any) -> CatgaResult[int]:
        raise TimeoutError("the warehouse did not answer")

    with pytest.raises(TimeoutError, match="the warehouse"):
        await TimeoutBehavior(60).handle(Reserve(), times_out_itself)


async def test_a_failed_result_of_the_inside_passes_as_it_is():
    failure: CatgaResult[int] = Failure(CatgaError("inner", code="TIMEOUT"))

    async def fails(message: Any) -> CatgaResult[int]:
        return failure

    assert await TimeoutBehavior(60).handle(Reserve(), fails) is failure


async def test_cancelling_the_sender_is_no_timeout():
    started = asyncio.Event()

    async def waits(message: Any) -> CatgaResult[int]:
        started.set()
        return await never(message)

    task = asyncio.create_task(TimeoutBehavior(60).handle(Reserve(), waits))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_sent_from_inside_inherits_the_deadline():
    nested: list[MessageContext] = []

    async def sends(message: Any) -> CatgaResult[int]:
        nested.append(begin_context())
        return Success(1)

    token = active_context.set(context())
    try:
        await TimeoutBehavior(5, StoppedClock()).handle(Reserve(), sends)
    finally:
        active_context.reset(token)

    assert nested[0].deadline == NOW + 5
    assert nested[0].causation_id == "m-1"


@pytest.mark.parametrize(("inherited", "expected"), [(NOW + 2, NOW + 2), (NOW + 9, NOW + 5), (None, NOW + 5)])
async def test_the_earlier_of_its_own_and_the_inherited_deadline_counts(
    inherited: float | None, expected: float
):
    seen: list[MessageContext | None] = []

    async def looks(message: Any) -> CatgaResult[int]:
        seen.append(active_context.get())
        return Success(1)

    before = context(inherited)
    token = active_context.set(before)
    try:
        await TimeoutBehavior(5, StoppedClock()).handle(Reserve(), looks)
        assert active_context.get() is before
    finally:
        active_context.reset(token)

    assert seen[0] is not None
    assert (seen[0].deadline, seen[0].message_id) == (expected, "m-1")


@pytest.mark.parametrize("rest", [at_once, never])
async def test_the_context_is_as_before_afterwards(rest: Any):
    before = context()
    token = active_context.set(before)
    try:
        await TimeoutBehavior(SOON).handle(Reserve(), rest)
        assert active_context.get() is before
    finally:
        active_context.reset(token)


async def test_an_inherited_deadline_cancels_the_rest():
    token = active_context.set(context(NOW + SOON))
    try:
        error = (await TimeoutBehavior(60, StoppedClock()).handle(Reserve(), never)).error
    finally:
        active_context.reset(token)

    assert error.code == "TIMEOUT"
    assert error.message.startswith("Reserve timed out after 0.01 s")


@pytest.mark.parametrize("deadline", [NOW, NOW - 1])
async def test_with_a_deadline_that_has_passed_nothing_is_started(deadline: float):
    async def started(message: Any) -> CatgaResult[int]:
        raise AssertionError("started")

    token = active_context.set(context(deadline))
    try:
        error = (await TimeoutBehavior(5, StoppedClock()).handle(Reserve(), started)).error
    finally:
        active_context.reset(token)

    assert error.code == "TIMEOUT"
    assert error.details == {"outcome": "not_started"}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "5"])
def test_seconds_that_are_no_time_are_refused(seconds: Any):
    with pytest.raises(ValueError, match="seconds of the timeout must be a finite number > 0"):
        TimeoutBehavior(seconds)
