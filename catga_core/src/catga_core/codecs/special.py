"""The checks of numbers, times, enumerations, and of what is declared as `Any`."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
from collections.abc import Sequence
from typing import Any

from catga_core.codecs.checks import INLINE_NAMES, Check, exactly, of_class
from catga_core.codecs.findings import Finding
from catga_core.codecs.rules import Rule
from catga_core.codecs.serializing import MSGPACK

JSON_NUMBER = Rule(
    math.isfinite, lambda _: "is not a finite number, which JSON cannot hold: use msgpack, or None for it"
)


def _same_offset(value: Any) -> bool:
    if value.tzinfo is None:
        return True
    offset = value.utcoffset()
    return offset is not None and not offset % dt.timedelta(minutes=1)


INLINE_NAMES["same_offset"] = _same_offset
SAME_OFFSET = Rule(
    _same_offset,
    lambda _: "has a zone whose offset is unknown or not whole minutes: convert it with astimezone(UTC)",
)
SAME_TIME = Rule(
    _same_offset,
    lambda _: "has a zone whose offset is unknown or not whole minutes: use a fixed offset, or none",
)


_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def _in_64_bits(value: int) -> bool:
    return _LEAST <= value <= _MOST


INLINE_NAMES["in_64_bits"] = _in_64_bits
_IN_64_BITS = Rule(
    _in_64_bits,
    lambda _: "is an int of more than 64 bits, which msgpack cannot hold: use a str or a Decimal for it",
    # Comparing with ints of one digit is the fastest.
    "-1073741823 <= x <= 1073741823 or in_64_bits(x)",
)


def int_bound(format: str) -> Rule | None:
    """Return the rule for the ints that a format has bytes for, `None` where it has them for all."""
    return _IN_64_BITS if format == MSGPACK else None


def _is_valid(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


INLINE_NAMES["is_valid"] = _is_valid
VALID_TEXT = Rule(
    _is_valid,
    lambda _: "holds a lone surrogate, which has no bytes: write it as valid Unicode",
    "x.isascii() or is_valid(x)",
)


def datetime_check(rules: Sequence[Rule]) -> Check:
    """Return the check of a datetime: its instant is kept, and of its zone no more than the offset.

    Args:
        rules: Its declared constraints.
    """
    check = exactly("datetime", dt.datetime, rules, SAME_OFFSET)
    if not rules:
        check.inline = (
            "type(x) is datetime_datetime and (x.tzinfo is None or x.tzinfo is UTC or same_offset(x))"
        )
    return check


def float_check(rules: Sequence[Rule], more: Rule | None) -> Check:
    """Return the check of a float; as in Python's typing, an int will do where a float is equal to it.

    Args:
        rules: Its declared constraints.
        more: What the format demands besides.
    """
    exact = exactly("float", float, rules, more)

    def good(value: Any) -> bool:
        if type(value) is int:
            return _is_whole_float(value) and all(rule.holds(value) for rule in rules)
        return exact.good(value)

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if type(value) is not int:
            exact.explain(value, path, findings)
        elif not _is_whole_float(value):
            findings.append(
                Finding(path, "is an int that no float is equal to: use float(...)", declared=False)
            )
        else:
            findings.extend(
                Finding(path, rule.text(value), declared=True) for rule in rules if not rule.holds(value)
            )

    inline = exact.inline
    if more is JSON_NUMBER and not rules:
        # What minus itself is not 0 is infinite, or not a number.
        inline = "type(x) is builtins_float and x - x == 0.0"
    if inline:
        inline = f"{inline} or type(x) is builtins_int and -9007199254740992 <= x <= 9007199254740992"
    return Check("float", lambda value: of_class(value, float) or of_class(value, int), good, explain, inline)


def _is_whole_float(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def decimal_check(rules: Sequence[Rule]) -> Check:
    """Return the check of a decimal with its declared constraints."""
    return exactly("Decimal", decimal.Decimal, [Rule(_held(rule), rule.text) for rule in rules])


def _held(rule: Rule) -> Any:
    def holds(value: Any) -> bool:
        try:
            return rule.holds(value)
        except decimal.InvalidOperation:
            # "Not a number" is neither more nor less than anything.
            return False

    return holds


def enum_check(cls: type[enum.Enum]) -> Check:
    """Return the check of the members of an enumeration."""
    check = exactly(cls.__name__, cls)
    return Check(check.expected, check.fits, check.good, check.explain)
