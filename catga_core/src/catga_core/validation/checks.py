"""The checks of single values, and how checks are joined into bigger ones.

A check says whether a value is good without making any object, and only explains one that is not. What it says tells
the rule and the type that was found, and a number or a length; never a text or another value of the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, get_origin

import msgspec

from catga_core.codecs.rules import Rule, Test
from catga_core.handlers.hints import class_of
from catga_core.interfaces.validation import ValidationProblem

Explain: TypeAlias = Callable[[Any, str, list[ValidationProblem]], None]


NONE = "None"


class Check(msgspec.Struct, frozen=True):
    """One type's check.

    Args:
        expected: The type's name, for a person.
        fits: Whether a value is of the type, as far as can be seen without looking inside.
        good: Whether a value keeps all that is declared, inside too.
        explain: Adds every problem of a value that is not good, with the paths of the fields.
    """

    expected: str
    fits: Test
    good: Test
    explain: Explain


class Inside(msgspec.Struct, frozen=True):
    """What has to hold for the parts of a value."""

    good: Test
    explain: Explain


ANYTHING = Check("anything", lambda _: True, lambda _: True, lambda _value, _path, _problems: None)


def typed(expected: str, fits: Test, rules: Sequence[Rule] = (), inside: Inside | None = None) -> Check:
    """Return the check of a type, its constraints and its parts, in this order."""
    tests = [fits, *(rule.holds for rule in rules), *([inside.good] if inside else [])]

    def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
        if not fits(value):
            problems.append(ValidationProblem(path, f"must be {expected}, is {_kind(value)}"))
            return
        problems.extend(ValidationProblem(path, rule.text(value)) for rule in rules if not rule.holds(value))
        if inside is not None:
            inside.explain(value, path, problems)

    return Check(expected, fits, _all(tests), explain)


def instance(cls: Any) -> Check:
    """Return the check for objects of a class, or `ANYTHING` for what `isinstance` cannot tell."""
    for known in (cls, get_origin(cls)):
        try:
            isinstance(None, known)
        except TypeError:
            continue
        return typed(getattr(known, "__name__", str(known)), of(known))
    return ANYTHING


def literal(values: tuple[Any, ...]) -> Check:
    """Return the check for one of a few values."""
    shown = _any_of([repr(value) for value in values])
    kinds: tuple[type[object], ...] = tuple({class_of(value) for value in values})

    def fits(value: Any) -> bool:
        return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)

    def holds(value: Any) -> bool:
        # True == 1, but it is another literal.
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values)

    return typed(shown, fits, [Rule(holds, lambda value: f"must be {shown}, is another {_kind(value)}")])


def union(members: Sequence[Check]) -> Check:
    """Return the check for a value that is good by any of several checks."""
    if ANYTHING in members:
        return ANYTHING
    if any(member.fits is is_int for member in members):
        # An int is then judged as int alone: the float beside it must not let it pass.
        members = [_only_float(member) if member.fits is is_float else member for member in members]
    expected = _any_of([member.expected for member in members])

    def fits(value: Any) -> bool:
        return any(member.fits(value) for member in members)

    def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
        for member in members:
            if member.fits(value):
                member.explain(value, path, problems)
                return
        problems.append(ValidationProblem(path, f"must be {expected}, is {_kind(value)}"))

    return Check(expected, fits, _some(members), explain)


def each(item: Check, iterate: Callable[[Any], Iterable[Any]], where: str) -> Inside | None:
    """Return what has to hold for every item of a container, `None` where anything does.

    Args:
        item: The check of one.
        iterate: Gives the items.
        where: What an item's path adds, with `{}` for its position.
    """
    if item is ANYTHING:
        return None
    test = item.good

    def good(value: Any) -> bool:
        for one in iterate(value):  # noqa: SIM110 - a generator would be made for each value
            if not test(one):
                return False
        return True

    def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
        for position, one in enumerate(iterate(value)):
            if not test(one):
                item.explain(one, path + where.format(position), problems)

    return Inside(good, explain)


def both(first: Inside | None, second: Inside | None) -> Inside | None:
    """Return what has to hold where two things have to."""
    if first is None or second is None:
        return first or second

    def explain(value: Any, path: str, problems: list[ValidationProblem]) -> None:
        first.explain(value, path, problems)
        second.explain(value, path, problems)

    return Inside(_all([first.good, second.good]), explain)


def of(cls: Any) -> Test:
    """Return a test for objects of a class."""
    return lambda value: isinstance(value, cls)


def is_int(value: Any) -> bool:
    """Tell whether a value is an int and no bool."""
    return isinstance(value, int) and value is not True and value is not False


def is_float(value: Any) -> bool:
    """Tell whether a value will do for a float."""
    # As in Python's typing and in msgspec, an int will do for a float.
    return isinstance(value, float | int) and value is not True and value is not False


def _only_float(check: Check) -> Check:
    is_one = of(float)
    return Check(check.expected, is_one, lambda value: is_one(value) and check.good(value), check.explain)


def _some(members: Sequence[Check]) -> Test:
    tests = [member.good for member in members]
    others = [member.good for member in members if member.expected != NONE]
    if len(tests) == 2 and len(others) == 1:
        only = others[0]
        return lambda value: value is None or only(value)

    def good(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would be made for each value
            if test(value):
                return True
        return False

    return good


def _all(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    first, second, *rest = tests
    if not rest:
        return lambda value: first(value) and second(value)
    third = _all(rest)
    return lambda value: first(value) and second(value) and third(value)


def _kind(value: Any) -> str:
    return NONE if value is None else type(value).__name__


def _any_of(names: Sequence[str]) -> str:
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} or {last}" if most else last
