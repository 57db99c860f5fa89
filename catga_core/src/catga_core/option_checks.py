"""Checks of options and arguments that are numbers, with the same error texts everywhere.

The functions for options return the problems they find, so that an options class reports all of them in one
`ConfigurationError`. `check_seconds` and `check_count` are for arguments of a call, and raise.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from catga_core.errors.configuration import UnknownOptionError
from catga_core.url_options import suggestion

T = TypeVar("T")

MOST_SECONDS: Final = 1e10
"""The longest lease, retention or delay: 317 years. Stores keep times as milliseconds, which end somewhere."""

_SHOWN: Final = 100

MOST_COUNT: Final = 2**53 - 1
"""The largest version, position or limit: above it, not every store tells two numbers apart."""


def check_seconds(
    name: str,
    value: object,
    *,
    least: float | None = None,
    most: float | None = None,
    optional: bool = False,
    of: str = "",
) -> None:
    """Check an argument that is a duration in seconds.

    Args:
        name: The argument's name.
        value: The value received.
        least: The smallest duration allowed; `None` for any above 0.
        most: The longest duration allowed; `None` for no limit.
        optional: Whether `None` is allowed, for no limit.
        of: What the argument belongs to, as `the lock 'stock'`.

    Raises:
        ValueError: The value is not a finite number in that range.
    """
    if optional and value is None:
        return
    if not is_number(value) or not _in_range(value, least, most):
        wanted = "> 0" if least is None else f">= {least:g}"
        if most is not None and is_number(value) and not _in_range(value, -math.inf, most):
            wanted += f" and <= {most:g}"
        end, fix = (" or None", "Pass seconds, or None for no limit.") if optional else ("", "Pass seconds.")
        subject = f"{name} of {of}" if of else name
        msg = f"{subject} must be a finite number {wanted}{end}; got {shown_number(value)}. {fix}"
        raise ValueError(msg)


def check_count(
    name: str, value: object, *, least: int = 1, most: int | None = None, optional: bool = False
) -> None:
    """Check an argument that is a whole number.

    Args:
        name: The argument's name.
        value: The value received.
        least: The smallest number allowed.
        most: The largest number allowed; `None` for no limit.
        optional: Whether `None` is allowed.

    Raises:
        ValueError: The value is not an int in that range; a bool is not an int here.
    """
    if optional and value is None:
        return
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < least
        or (most is not None and value > most)
    ):
        wanted = f">= {least}" if most is None else f"from {least} to {most}"
        end = " or None" if optional else ""
        msg = f"{name} must be an int {wanted}{end}; got {shown_number(value)}. Pass a number in that range."
        raise ValueError(msg)


def check_name(name: str, value: object) -> None:
    """Check an argument that is the name or key of something that is kept.

    Args:
        name: The argument's name.
        value: The value received.

    Raises:
        ValueError: The value is not a str, is empty, or has a lone surrogate, which has no bytes.
    """
    if not isinstance(value, str) or not value:
        msg = f"{name} must be a non-empty str; got {shown_number(value)}. Pass a name."
        raise ValueError(msg)
    if not is_text(value):
        msg = (
            f"{name} must be text that can be encoded; got {shown_number(value)}. Remove the lone surrogate."
        )
        raise ValueError(msg)


def is_text(value: str) -> bool:
    """Return whether a str can be encoded: a lone surrogate has no bytes, and only the storage would find it."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown_number(value: object) -> str:
    """Return a value as error texts show it; Python does not print an int of more than 4,300 digits."""
    try:
        text = repr(value)
    except ValueError:
        return "an int of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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
    return f"{owner}{option}={shown_number(value)} is invalid. {fix}"


def is_number(value: object) -> bool:
    """Return whether a value is a finite number; a bool is not a number here."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # An int beyond every float.
        return False


def is_whole_number(value: object) -> bool:
    """Return whether a value is an int; a bool is not a number here."""
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
    problems: list[str] = []
    for name, value in _values(options, names):
        if not is_number(value) or not _in_range(value, least, MOST_SECONDS):
            bound = f" and <= {MOST_SECONDS:g}" if is_number(value) and value > MOST_SECONDS else ""
            problems.append(invalid(system, name, value, f"Set a finite number of seconds {wanted}{bound}."))
    return problems


def whole_number_problems(
    options: object, names: Iterable[str], *, system: str, least: int = 1, most: int | None = None
) -> list[str]:
    """Check options that are whole numbers.

    Args:
        options: The object that holds them.
        names: The options' names.
        system: Whose options they are, for the text.
        least: The smallest number allowed.
        most: The largest number allowed; `None` for `MOST_COUNT`.

    Returns:
        The problems found.
    """
    problems: list[str] = []
    for name, value in _values(options, names):
        too_high = is_whole_number(value) and value > (MOST_COUNT if most is None else most)
        if not is_whole_number(value) or value < least or too_high:
            bound = MOST_COUNT if most is None and too_high else most
            wanted = f">= {least}" if bound is None else f"from {least} to {bound}"
            problems.append(invalid(system, name, value, f"Set an int {wanted}."))
    return problems


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


class OptionsType(msgspec.StructMeta):
    """The type of structs of options: names an option that does not exist, and the near one."""

    if not TYPE_CHECKING:  # the signature is the struct's own

        def __call__(cls, *args: Any, **options: Any) -> Any:  # noqa: N805 - an object of it is a class
            """Return the options.

            Raises:
                UnknownOptionError: An option does not exist, or is given by position.
            """
            if args:
                # Not what it is: it may be a URL with a password.
                msg = f"{cls.__name__} takes options by name; got a {type(args[0]).__name__}. Write {cls.__name__}(name=...)."
                raise UnknownOptionError(msg)
            check_option_names(cls.__name__, options, cls.__struct_fields__)
            return super().__call__(**options)


def named_options(cls: type[T]) -> type[T]:
    """Have a dataclass of options name an option that does not exist, and the near one.

    Args:
        cls: The dataclass.
    """
    known = [each.name for each in dataclasses.fields(cast("Any", cls)) if each.init]
    init = cls.__init__

    @functools.wraps(init)
    def checked(self: T, *args: Any, **options: Any) -> None:
        check_option_names(cls.__name__, options, known)
        init(self, *args, **options)

    cls.__init__ = cast("Any", checked)  # type: ignore[method-assign]  # with the same signature
    return cls


def check_option_names(owner: str, given: Iterable[str], known: Collection[str]) -> None:
    """Check that options exist.

    Args:
        owner: What they are options of.
        given: Their names.
        known: The names that exist.

    Raises:
        UnknownOptionError: Listing every name that does not.
    """
    problems = [
        f"{name!r} is not an option of {owner}: {suggestion(name, known)}"
        for name in given
        if name not in known
    ]
    if problems:
        raise UnknownOptionError(problems)


def _values(options: object, names: Iterable[str]) -> Iterable[tuple[str, Any]]:
    return ((name, getattr(options, name)) for name in names)


def _in_range(value: Any, least: float | None, most: float | None) -> bool:
    return (value > 0 if least is None else value >= least) and (most is None or value <= most)
