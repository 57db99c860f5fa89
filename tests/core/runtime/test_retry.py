"""`RetryPolicy`: delays double up to a limit, jitter shortens them, arguments are checked."""

from __future__ import annotations

import math

import pytest

from catga_core.runtime import RetryPolicy, jittered


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
