"""The constraints `msgspec.Meta` can declare, as tests with a sentence for each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import msgspec.inspect as shape

Test: TypeAlias = Callable[[Any], bool]


class Rule(msgspec.Struct, frozen=True):
    """A constraint on a value that is already known to be of the right type.

    Args:
        holds: Whether a value keeps it.
        text: What is wrong with a value that does not.
        inline: `holds` as an expression in which `x` is the value, empty where it has to be called.
    """

    holds: Test
    text: Callable[[Any], str]
    inline: str = ""


def number_rules(bounds: shape.IntType | shape.FloatType) -> list[Rule]:
    """Return the constraints of a number."""
    ge, gt, le, lt, step = bounds.ge, bounds.gt, bounds.le, bounds.lt, bounds.multiple_of
    found: list[tuple[Any, Test, str]] = [
        (ge, lambda value: value >= ge, "at least"),
        (gt, lambda value: value > gt, "more than"),
        (le, lambda value: value <= le, "at most"),
        (lt, lambda value: value < lt, "less than"),
        (step, lambda value: _is_multiple(value, step), "a multiple of"),
    ]
    return [_number_rule(bound, holds, words) for bound, holds, words in found if bound is not None]


def length_rules(bounds: Any, unit: str) -> list[Rule]:
    """Return the constraints of a length; the unit is its word for one."""
    least, most = bounds.min_length, bounds.max_length
    rules: list[Rule] = []
    if least is not None:
        words = f"must have at least {_count(least, unit)}, has"
        rules.append(Rule(lambda value: len(value) >= least, lambda value: f"{words} {len(value)}"))
    if most is not None:
        text = f"must have at most {_count(most, unit)}, has"
        rules.append(Rule(lambda value: len(value) <= most, lambda value: f"{text} {len(value)}"))
    return rules


def pattern_rules(pattern: str | None) -> list[Rule]:
    """Return the constraint of a pattern, which may match anywhere in the text, as msgspec has it."""
    if pattern is None:
        return []
    search = re.compile(pattern).search
    return [Rule(lambda value: search(value) is not None, lambda _: f"must match the pattern {pattern!r}")]


def zone_rules(zone: bool | None) -> list[Rule]:
    """Return the constraint of a time zone: needed, forbidden, or as it may be."""
    if zone is None:
        return []
    text = "must have a time zone, has none" if zone else "must have no time zone, has one"
    return [Rule(lambda value: (value.tzinfo is not None) is zone, lambda _: text)]


def _number_rule(bound: Any, holds: Test, words: str) -> Rule:
    return Rule(holds, lambda value: f"must be {words} {bound}, is {_number(value)}")


def _is_multiple(value: Any, step: Any) -> bool:
    try:
        return bool(
            value % step == 0
            if isinstance(step, int) and isinstance(value, int)
            else math.fmod(value, step) == 0
        )
    except (ValueError, OverflowError):
        return False


def _number(value: Any) -> str:
    if isinstance(value, int):
        # A long number may be a card's; and Python refuses to write very long ones.
        return str(int(value)) if abs(value) < 10**12 else "a number of more than 12 digits"
    return f"{float(value):.12g}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
