"""Checks of options, with the same error texts for every store, transport and feature.

Each function returns the problems it finds, so that an options class reports all of them in one `ConfigurationError`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from catga_core.errors.configuration import UnknownOptionError
from catga_core.url_options import suggestion

T = TypeVar("T")


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
