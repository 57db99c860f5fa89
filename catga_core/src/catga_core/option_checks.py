"""Checks of options, with the same error texts for every store, transport and feature.

Each function returns the problems it finds, so that an options class reports all of them in one `ConfigurationError`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any


def invalid(system: str, option: str, value: object, fix: str) -> str:
    """Return the text for an invalid option.

    Args:
        system: Whose option it is: `SQLite`; empty for Catga's own options.
        option: The option's name.
        value: The value received.
        fix: What to set instead, in the imperative.

    Returns:
        One sentence naming the option, the value and the fix.
    """
    owner = f"{system} option " if system else ""
    return f"{owner}{option}={value!r} is invalid. {fix}"


def is_number(value: object) -> bool:
    """Return whether a value is a finite number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole_number(value: object) -> bool:
    """Return whether a value is an int; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def seconds_problems(
    options: object, names: Iterable[str], *, system: str, least: float | None = None
) -> list[str]:
    """Check options that are durations in seconds.

    Args:
        options: The object that holds them.
        names: The options' names.
        system: Whose options they are, for the text.
        least: The smallest duration allowed; `None` for any above 0.

    Returns:
        The problems found.
    """
    wanted = "above 0" if least is None else f">= {least:g}"
    return [
        invalid(system, name, value, f"Set a finite number of seconds {wanted}.")
        for name, value in _values(options, names)
        if not is_number(value) or (value <= 0 if least is None else value < least)
    ]


def whole_number_problems(
    options: object, names: Iterable[str], *, system: str, least: int = 1, most: int | None = None
) -> list[str]:
    """Check options that are whole numbers.

    Args:
        options: The object that holds them.
        names: The options' names.
        system: Whose options they are, for the text.
        least: The smallest number allowed.
        most: The largest number allowed; `None` for no limit.

    Returns:
        The problems found.
    """
    wanted = f">= {least}" if most is None else f"from {least} to {most}"
    return [
        invalid(system, name, value, f"Set an int {wanted}.")
        for name, value in _values(options, names)
        if not is_whole_number(value) or value < least or (most is not None and value > most)
    ]


def choice_problems(options: object, name: str, choices: Collection[Any], *, system: str) -> list[str]:
    """Check an option that takes one of several values.

    Args:
        options: The object that holds it.
        name: The option's name.
        choices: The values allowed.
        system: Whose option it is, for the text.

    Returns:
        The problem found, if any.
    """
    value = getattr(options, name)
    if value in choices:
        return []
    return [invalid(system, name, value, f"Set one of {', '.join(map(repr, choices))}.")]


def _values(options: object, names: Iterable[str]) -> Iterable[tuple[str, Any]]:
    return ((name, getattr(options, name)) for name in names)
