"""Tells whether what a handler answers with fits what its message is answered with."""

from __future__ import annotations

import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

_UNIONS = {Union, types.UnionType}
# As type checkers promote numbers.
_PROMOTED: dict[Any, tuple[type[Any], ...]] = {float: (int,), complex: (int, float)}


def fits(found: Any, expected: Any) -> bool:
    """Tell whether a value of one type may stand where another is expected.

    What cannot be judged at run time fits: a type checker judges it.

    Args:
        found: The annotation of what is given.
        expected: The annotation of what is asked for.
    """
    found, expected = _meant(found), _meant(expected)
    if (
        found is Any
        or expected is Any
        or isinstance(found, TypeVar)
        or found == expected
        or expected is object
    ):
        return True
    if get_origin(found) in _UNIONS:
        return all(fits(member, expected) for member in get_args(found))
    if get_origin(expected) in _UNIONS:
        return any(fits(found, member) for member in get_args(expected))
    if get_origin(found) is Literal:
        return all(fits(type(value), expected) for value in get_args(found))
    found_origin, expected_origin = get_origin(found) or found, get_origin(expected) or expected
    if not (isinstance(found_origin, type) and isinstance(expected_origin, type)):
        return True
    # Generics fit when their origins do and no argument contradicts another.
    return _is_kind_of(found_origin, expected_origin) and all(
        fits(one, other) for one, other in zip(get_args(found), get_args(expected), strict=False)
    )


def _is_kind_of(found: type[Any], expected: type[Any]) -> bool:
    try:
        return issubclass(found, (expected, *_PROMOTED.get(expected, ())))
    except TypeError:
        # TypedDicts and Protocols refuse to be asked.
        return True


def _meant(type_: Any) -> Any:
    """Return what a NewType or a `type X = ...` stands for."""
    while not isinstance(type_, type):
        inner = getattr(type_, "__supertype__", None) or getattr(type_, "__value__", None)
        if inner is None:
            break
        type_ = inner
    return type_
