from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from catga_core.option_checks import (
    check_count,
    check_name,
    check_seconds,
    choice_problems,
    invalid,
    seconds_problems,
    whole_number_problems,
)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5", None])
def test_invalid_seconds_are_reported_with_name_value_and_fix(value: object) -> None:
    [problem] = seconds_problems(SimpleNamespace(wait_seconds=value), ("wait_seconds",), system="Redis")

    assert problem == (
        f"Redis option wait_seconds={value!r} is invalid. Set a finite number of seconds above 0."
    )


@pytest.mark.parametrize(("value", "least"), [(0.001, None), (0, 0), (2, 2), (3.5, 2)])
def test_valid_seconds_are_not_reported(value: float, least: float | None) -> None:
    assert seconds_problems(SimpleNamespace(wait=value), ("wait",), system="Redis", least=least) == []


def test_seconds_below_the_least_are_reported() -> None:
    [problem] = seconds_problems(SimpleNamespace(wait=1), ("wait",), system="", least=2)

    assert problem == "wait=1 is invalid. Set a finite number of seconds >= 2."


@pytest.mark.parametrize("value", [0, 65, 1.0, True, "2", None])
def test_invalid_whole_numbers_are_reported(value: object) -> None:
    [problem] = whole_number_problems(SimpleNamespace(readers=value), ("readers",), system="SQLite", most=64)

    assert problem == f"SQLite option readers={value!r} is invalid. Set an int from 1 to 64."


def test_number_above_the_largest_is_reported_with_that_bound() -> None:
    options = SimpleNamespace(bytes=2**80, wait=1e12)

    assert whole_number_problems(options, ("bytes",), system="SQLite") == [
        f"SQLite option bytes={2**80} is invalid. Set an int from 1 to {2**53 - 1}."
    ]
    assert seconds_problems(options, ("wait",), system="SQLite") == [
        "SQLite option wait=1000000000000.0 is invalid. Set a finite number of seconds above 0 and <= 1e+10."
    ]


def test_valid_whole_numbers_are_not_reported() -> None:
    options = SimpleNamespace(low=1, high=64)

    assert whole_number_problems(options, ("low", "high"), system="SQLite", most=64) == []
    assert whole_number_problems(options, ("low", "high"), system="SQLite", least=1) == []


def test_unknown_choice_is_reported_with_all_choices() -> None:
    assert choice_problems(SimpleNamespace(mode="b"), "mode", ("a", "b"), system="SQLite") == []
    assert choice_problems(SimpleNamespace(mode="c"), "mode", ("a", "b"), system="SQLite") == [
        "SQLite option mode='c' is invalid. Set one of 'a', 'b'."
    ]


def test_option_without_a_system_is_named_alone() -> None:
    assert invalid("", "max_event_bytes", 0, "Set an int >= 1.") == (
        "max_event_bytes=0 is invalid. Set an int >= 1."
    )


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "5", None, 10**400, 1e11])
def test_seconds_out_of_range_are_refused_with_their_name(value: object) -> None:
    with pytest.raises(ValueError, match=r"^wait must be a finite number > 0( and <= 1e\+10)?; got "):
        check_seconds("wait", value, most=1e10)


@pytest.mark.parametrize(
    ("value", "options"), [(0.1, {}), (3, {}), (0, {"least": 0}), (None, {"optional": True})]
)
def test_seconds_in_range_are_accepted(value: object, options: dict[str, Any]) -> None:
    check_seconds("wait", value, **options)


@pytest.mark.parametrize(
    "value", [0, 9, 1.0, True, "2", None, 10**5000], ids=lambda value: type(value).__name__
)
def test_count_out_of_range_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(ValueError, match=r"^size must be an int from 1 to 8; got "):
        check_count("size", value, most=8)


@pytest.mark.parametrize(
    ("value", "options"), [(1, {}), (10**4000, {}), (0, {"least": 0}), (None, {"optional": True})]
)
def test_count_in_range_is_accepted(value: object, options: dict[str, Any]) -> None:
    check_count("size", value, **options)


@pytest.mark.parametrize("value", ["", "\ud800", 3, None, b"a"])
def test_name_that_has_no_bytes_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^key must be "):
        check_name("key", value)
    check_name("key", "größe 🦀")
