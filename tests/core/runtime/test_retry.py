"""`RetryPolicy`: delays double up to a limit, jitter shortens them, arguments are checked."""

from __future__ import annotations

import asyncio
import math

import pytest

from catga_core.runtime import RetryPolicy, jittered, yield_to_winner
from catga_testing import ManualClock


def test_delay_doubles_up_to_the_maximum() -> None:
    policy = RetryPolicy(delay_seconds=0.1, max_delay_seconds=0.5, jitter=0)

    assert [policy.delay(attempt) for attempt in range(1, 5)] == [0.1, 0.2, 0.4, 0.5]


def test_delay_after_thousands_of_attempts_is_the_maximum() -> None:
    assert RetryPolicy(delay_seconds=0.1, max_delay_seconds=30, jitter=0).delay(10_000) == 30


def test_first_delay_respects_the_maximum() -> None:
    assert RetryPolicy(delay_seconds=5, max_delay_seconds=1, jitter=0).delay(1) == 1


@pytest.mark.parametrize("jitter", [0.25, 0.5, 1.0])
def test_jitter_shortens_delays_by_its_share(jitter: float) -> None:
    policy = RetryPolicy(delay_seconds=1, max_delay_seconds=1, jitter=jitter)

    delays = [policy.delay(1) for _ in range(500)]

    assert len(set(delays)) > 1
    assert all(1 - jitter <= delay <= 1 for delay in delays)
    assert min(delays) < 1 - jitter * 0.8
    assert max(delays) > 1 - jitter * 0.2


def test_attempts_are_allowed_up_to_the_maximum() -> None:
    policy = RetryPolicy(max_attempts=3)

    assert [policy.allows(attempts) for attempts in range(1, 5)] == [True, True, False, False]
    assert RetryPolicy(max_attempts=None).allows(10**9)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_attempts": 0}, "max_attempts must be an int >= 1 or None; got 0"),
        ({"max_attempts": 2.0}, "max_attempts must be an int >= 1 or None; got 2.0"),
        ({"max_attempts": True}, "max_attempts must be an int >= 1 or None; got True"),
        ({"delay_seconds": -1}, "delay_seconds must be a finite number >= 0; got -1"),
        ({"delay_seconds": math.inf}, "delay_seconds must be a finite number >= 0; got inf"),
        ({"delay_seconds": "1"}, "delay_seconds must be a finite number >= 0; got '1'"),
        ({"max_delay_seconds": math.nan}, "max_delay_seconds must be a finite number >= 0; got nan"),
        ({"jitter": 1.5}, "jitter must be a number from 0 to 1; got 1.5"),
    ],
)
def test_argument_out_of_range_is_refused(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RetryPolicy(**arguments)  # type: ignore[arg-type]  # that is the point


def test_all_arguments_out_of_range_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match="delay_seconds") as raised:
        RetryPolicy(max_attempts=0, delay_seconds=-1, max_delay_seconds=-2, jitter=3)

    for name in ("max_attempts", "delay_seconds", "max_delay_seconds", "jitter"):
        assert f"{name} must" in str(raised.value)


def test_jittered_duration_stays_within_a_fifth() -> None:
    durations = [jittered(10) for _ in range(500)]

    assert all(8 <= duration <= 12 for duration in durations)
    assert min(durations) < 9 < 11 < max(durations)


SLOW = RetryPolicy(max_attempts=None, delay_seconds=1, max_delay_seconds=4, jitter=0)


class Attempts:
    """Fails with the given errors, one after the other, then succeeds with the number of attempts."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.count


def is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


async def test_run_waits_the_delays_of_the_clock_between_attempts() -> None:
    clock, attempts = ManualClock(), Attempts(OSError(), OSError(), OSError())
    running = asyncio.create_task(SLOW.run(attempts, retryable=is_os_error, clock=clock))

    for delay in (1, 2, 4):
        await clock.sleeping()
        assert clock.sleepers == [delay]
        clock.advance(delay)

    assert await running == 4


async def test_run_that_succeeds_at_once_does_not_sleep() -> None:
    clock = ManualClock()

    assert await SLOW.run(Attempts(), retryable=is_os_error, clock=clock) == 1
    assert clock.sleepers == []


async def test_run_raises_an_error_that_is_not_retryable() -> None:
    attempts = Attempts(ValueError("no"))

    with pytest.raises(ValueError, match=r"^no$"):
        await SLOW.run(attempts, retryable=is_os_error, clock=ManualClock())

    assert attempts.count == 1


async def test_run_raises_the_last_error_after_the_last_attempt() -> None:
    errors = [OSError(number) for number in range(3)]
    policy = RetryPolicy(max_attempts=3, delay_seconds=0)
    seen: list[Exception] = []

    def retryable(error: Exception) -> bool:
        seen.append(error)
        return True

    attempts = Attempts(*errors)
    with pytest.raises(OSError, match="2") as raised:
        await policy.run(attempts, retryable=retryable, clock=ManualClock())

    assert raised.value is errors[2]
    assert seen == errors
    assert attempts.count == 3


async def test_run_calls_on_retry_before_each_delay_only() -> None:
    clock, errors = ManualClock(), [OSError(1), OSError(2), OSError(3)]
    policy = RetryPolicy(max_attempts=3, delay_seconds=1, jitter=0)
    calls: list[tuple[Exception, float]] = []
    running = asyncio.create_task(
        policy.run(
            Attempts(*errors),
            retryable=is_os_error,
            clock=clock,
            on_retry=lambda error, delay: calls.append((error, delay)),
        )
    )

    await clock.sleeping()
    assert calls == [(errors[0], 1)]
    await clock.run_for(1)
    assert calls == [(errors[0], 1), (errors[1], 2)]
    await clock.run_for(2)

    with pytest.raises(OSError, match="3"):
        await running
    assert len(calls) == 2


async def test_run_begins_the_last_attempt_at_the_time_limit() -> None:
    clock, attempts = ManualClock(), Attempts(*(OSError(number) for number in range(9)))
    running = asyncio.create_task(SLOW.run(attempts, retryable=is_os_error, clock=clock, within=3.5))

    await clock.sleeping()
    for delay in (1, 2, 0.5):
        assert clock.sleepers == [delay]
        await clock.run_for(delay)

    with pytest.raises(OSError, match="3"):
        await running
    assert attempts.count == 4
    assert clock.monotonic() == 3.5


async def test_run_counts_the_attempt_that_the_caller_made() -> None:
    clock, attempts, first = ManualClock(), Attempts(OSError("second")), OSError("first")
    policy = RetryPolicy(max_attempts=2, delay_seconds=1, jitter=0)
    running = asyncio.create_task(policy.run(attempts, retryable=is_os_error, clock=clock, failed=first))

    await clock.sleeping()
    assert attempts.count == 0
    clock.advance(1)

    with pytest.raises(OSError, match="second"):
        await running
    assert attempts.count == 1


async def test_run_raises_the_callers_error_where_it_is_not_retryable() -> None:
    first, attempts = ValueError("first"), Attempts()

    with pytest.raises(ValueError, match="first") as raised:
        await SLOW.run(attempts, retryable=is_os_error, clock=ManualClock(), failed=first)

    assert raised.value is first
    assert attempts.count == 0


async def test_cancelled_run_makes_no_further_attempt() -> None:
    clock, attempts = ManualClock(), Attempts(OSError())
    running = asyncio.create_task(SLOW.run(attempts, retryable=is_os_error, clock=clock))
    await clock.sleeping()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert attempts.count == 1
    assert clock.sleepers == []


async def test_cancellation_within_an_attempt_is_not_retried() -> None:
    attempts = Attempts(asyncio.CancelledError())

    with pytest.raises(asyncio.CancelledError):
        await SLOW.run(attempts, retryable=lambda _: True, clock=ManualClock())

    assert attempts.count == 1


async def test_yield_to_winner_pauses_after_a_wait_that_ended_at_once() -> None:
    loop = asyncio.get_running_loop()
    pauses: list[float] = []
    for _ in range(20):
        began = loop.time()
        await yield_to_winner(began)
        pauses.append(loop.time() - began)

    # From 2 to 20 ms; a timer of the loop may be a little early.
    assert min(pauses) >= 0.001
    assert max(pauses) - min(pauses) > 0.003


async def test_yield_to_winner_returns_at_once_after_a_longer_wait() -> None:
    turns = yield_to_winner(asyncio.get_running_loop().time() - 0.002)

    with pytest.raises(StopIteration):
        turns.send(None)


async def test_yield_to_winner_pauses_no_longer_than_allowed() -> None:
    loop = asyncio.get_running_loop()
    turns = yield_to_winner(loop.time() + 10, most=0)

    assert turns.send(None) is None  # one turn of the loop, and no timer
    with pytest.raises(StopIteration):
        turns.send(None)
