from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catga_core.features.scheduling.ticks import Ticks, ticks_of

BERLIN = "Europe/Berlin"


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def shown(ticks: Ticks, after: str, count: int) -> list[str]:
    found = islice(ticks.after(at(after)), count)
    return [datetime.fromtimestamp(each / 1000, ticks.timezone).isoformat() for each in found]


def test_interval_has_the_same_ticks_in_every_replica() -> None:
    ticks = ticks_of(timedelta(minutes=15), None, None)

    assert shown(ticks, "2026-01-01T10:07:00+00:00", 2) == [
        "2026-01-01T10:15:00+00:00",
        "2026-01-01T10:30:00+00:00",
    ]
    assert ticks.latest(at("2026-01-01T10:30:00+00:00")) == at("2026-01-01T10:30:00+00:00")


def test_skipped_hour_runs_a_fixed_time_right_after_it() -> None:
    ticks = ticks_of(None, "30 2 * * *", BERLIN)

    # 02:30 does not exist on 2026-03-29.
    assert shown(ticks, "2026-03-28T12:00:00+01:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_repeated_hour_runs_a_fixed_time_once() -> None:
    ticks = ticks_of(None, "30 2 * * *", BERLIN)

    # 02:30 comes twice on 2026-10-25.
    assert shown(ticks, "2026-10-24T12:00:00+02:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_frequent_expression_follows_the_clock_through_both_changes() -> None:
    ticks = ticks_of(None, "*/30 * * * *", BERLIN)

    assert shown(ticks, "2026-03-29T01:00:00+01:00", 3) == [
        "2026-03-29T01:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T03:30:00+02:00",
    ]
    assert len(shown(ticks, "2026-10-25T01:30:00+02:00", 5)) == 5


@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "*/7 * * * *", "0 0 1 * *", "0 12 * * MON#1", "5 4 L * *", "*/20 30 2 * * *"]
)
@pytest.mark.parametrize("zone", ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"])
def test_latest_is_the_last_tick_that_after_yields(cron: str, zone: str) -> None:
    ticks = ticks_of(None, cron, zone)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(at("2025-01-01T00:00:00+00:00"), at("2027-12-31T00:00:00+00:00")))
    def check(now: int) -> None:
        latest = ticks.latest(now)
        assert latest is not None
        assert latest <= now
        following = next(iter(ticks.after(latest)))
        assert following > now
        assert next(iter(ticks.after(now))) == following
        assert next(iter(ticks.after(latest - 1))) == latest

    check()


@pytest.mark.parametrize(
    ("every", "cron", "zone", "error"),
    [
        (None, None, None, ValueError),
        (60, "* * * * *", None, ValueError),
        (0, None, None, ValueError),
        (float("inf"), None, None, ValueError),
        ("60", None, None, TypeError),
        (None, "* * * *", None, ValueError),
        (None, "61 * * * *", None, ValueError),
        (None, "0 0 30 2 *", None, ValueError),
        (None, 5, None, TypeError),
        (60, None, "Europe/Nowhere", ValueError),
        (60, None, 2, TypeError),
    ],
)
def test_impossible_times_are_refused(
    every: object, cron: object, zone: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ticks_of(every, cron, zone)  # type: ignore[arg-type]  # what a user may pass
