"""The checks of single values: whether they are read back as they are.

A check decides without making any object, and only explains a value that is refused. Texts name rules and types, never
what stands in the value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from catga_core.codecs.findings import Finding, kind_of
from catga_core.codecs.rules import Rule, Test
from catga_core.codecs.same import same
from catga_core.descriptions import class_of

Explain = Callable[[Any, str, list[Finding]], None]


class Steps(msgspec.Struct, frozen=True):
    """The lines of a check, to be compiled into a test or into an encoding function.

    Args:
        lines: Statements about the value `v`; `{fail}` stands for what is done where it is not good.
        names: What they use, besides the names of inline expressions.
    """

    lines: tuple[str, ...]
    names: dict[str, Any]


class Check(msgspec.Struct, eq=False):
    """One type's check in one format.

    Args:
        expected: The type's name, for a person.
        fits: Whether a value is of the type or of one derived from it, as far as can be seen without looking inside.
        good: Whether a value is read back as it is.
        explain: Adds what is wrong with a value that is not good.
        inline: `good` as an expression in which `x` is the value, empty where it has to be called.
        steps: `good` as statements, `None` where it has to be called.
    """

    expected: str
    fits: Test
    good: Test
    explain: Explain
    inline: str = ""
    steps: Steps | None = None


def pending(expected: str) -> Check:
    """Return the check of a type that is being compiled, to be completed: one of its parts may be of this type again."""
    return Check(expected, _not_yet, _not_yet, _not_yet_explained)


def test_of(check: Check) -> Test:
    """Return what calls a check, also one that is not complete yet."""

    def later(value: Any) -> bool:
        return check.good(value)

    return check.good if check.good is not _not_yet else later


def _not_yet(_value: Any) -> bool:
    return False


def _not_yet_explained(_value: Any, _path: str, _findings: list[Finding]) -> None:
    pass


# Classes of the standard library whose check is an expression, under the names that it uses.
INLINE_NAMES: dict[str, Any] = {
    "UTC": dt.UTC,
    **{
        f"{cls.__module__}_{cls.__name__}": cls
        for cls in (bool, int, float, str, bytes, dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, UUID)
    },
}


def compiled(parameter: str, lines: Sequence[str], names: Mapping[str, Any] | None = None) -> Test:
    """Compile a function of one parameter.

    Args:
        parameter: Its name.
        lines: Its body.
        names: What the body uses, besides the names of inline expressions, and `__name__` for the module it counts as.
    """
    text = f"def _made({parameter}):\n" + "".join(f"    {line}\n" for line in lines)
    scope = {"__name__": __name__, **INLINE_NAMES, **(names or {})}
    exec(compile(text, "<check>", "exec"), scope)  # noqa: S102 - made of identifiers and of our own text
    return scope["_made"]  # type: ignore[no-any-return]  # the function that the text defines


def tested(steps: Steps) -> Test:
    """Compile steps into a test."""
    return compiled(
        "v",
        [*(line.replace("{fail}", "return False") for line in steps.lines), "return True"],
        steps.names,
    )


def exactly(expected: str, cls: type[Any], rules: Sequence[Rule] = (), more: Rule | None = None) -> Check:
    """Return the check for values of exactly one class.

    Args:
        expected: The class's name.
        cls: The class.
        rules: Its declared constraints.
        more: What the format demands besides.
    """
    tests = [rule.holds for rule in rules] + ([more.holds] if more else [])
    name = f"{cls.__module__}_{cls.__name__}"
    inline = ""
    if INLINE_NAMES.get(name) is cls and not rules and (more is None or more.inline):
        inline = f"type(x) is {name}" if more is None else f"type(x) is {name} and ({more.inline})"

    def good(value: Any) -> bool:
        if type(value) is not cls:
            return False
        for test in tests:  # noqa: SIM110 - a generator would be made for each value
            if not test(value):
                return False
        return True

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if not of_class(value, cls):
            findings.append(wrong(path, expected, value))
            return
        if type(value) is not cls:
            findings.append(inexact(path, expected, value))
            return
        broken = [rule for rule in rules if not rule.holds(value)]
        findings.extend(Finding(path, rule.text(value), declared=True) for rule in broken)
        if more is not None and not more.holds(value):
            findings.append(Finding(path, more.text(value), declared=False))

    return Check(expected, lambda value: of_class(value, cls), good, explain, inline)


def of_class(value: Any, cls: type[Any]) -> bool:
    """Tell whether a value is of a class; a bool does not count as an int, nor a datetime as a date."""
    if cls is int and isinstance(value, bool):
        return False
    if cls is dt.date and isinstance(value, dt.datetime):
        return False
    return isinstance(value, cls)


def wrong(path: str, expected: str, value: Any) -> Finding:
    """Return the finding for a value of another type."""
    return Finding(path, f"must be {expected}, is {kind_of(value)}", declared=True, mistyped=True)


def inexact(path: str, expected: str, value: Any) -> Finding:
    """Return the finding for a value of a derived class."""
    text = f"must be exactly {expected}, is {kind_of(value)}, which would be read back as {expected}"
    return Finding(path, text, declared=False)


def literal(values: tuple[Any, ...]) -> Check:
    """Return the check for one of a few values."""
    known = frozenset((class_of(each), each) for each in values)
    expected = any_of([repr(value) for value in values])

    def good(value: Any) -> bool:
        try:
            return (type(value), value) in known
        except TypeError:
            return False

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        # Refused by the sender like another type: a receiver cannot decode it.
        other = "another " if type(value) in kinds else ""
        text = f"must be {expected}, is {other}{kind_of(value)}"
        findings.append(Finding(path, text, declared=True, mistyped=True))

    kinds = tuple(map(class_of, values))
    return Check(expected, lambda value: isinstance(value, kinds) and type(value) in kinds, good, explain)


def union(members: Sequence[Check]) -> Check:
    """Return the check for a value that is good by any of several checks."""
    # None is tested first and named last, as annotations do.
    expected = any_of(sorted((member.expected for member in members), key=lambda name: name == "None"))
    tests = [test_of(member) for member in members]

    def good(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would be made for each value
            if test(value):
                return True
        return False

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        for member in members:
            if member.fits(value):
                member.explain(value, path, findings)
                return
        findings.append(wrong(path, expected, value))

    inline = ""
    steps: Steps | None = None
    if len(members) == 2 and members[0].expected == "None" and members[1].steps is not None:
        steps = Steps(
            ("if v is not None:", *(f"    {line}" for line in members[1].steps.lines)), members[1].steps.names
        )
    if all(member.inline for member in members):
        inline = " or ".join(f"({member.inline})" for member in members)
    elif len(members) == 2 and members[0].expected == "None":
        only = tests[1]
        good = lambda value: value is None or only(value)  # noqa: E731 - one test less for what is common
    return Check(
        expected, lambda value: any(member.fits(value) for member in members), good, explain, inline, steps
    )


def round_trip(check: Check, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> Check:
    """Return a check that also encodes and decodes, for what cannot be decided by looking at a value.

    Args:
        check: What is looked at first.
        encode: Encodes the value.
        decode: Decodes what it has become.
    """

    def returns(value: Any) -> bool:
        try:
            return same(decode(encode(value)), value)
        except Exception:  # noqa: BLE001 - code of the value's class runs here, which may raise anything
            return False

    def good(value: Any) -> bool:
        return check.good(value) and returns(value)

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if not check.good(value):
            check.explain(value, path, findings)
            return
        try:
            back = decode(encode(value))
        except Exception as error:  # noqa: BLE001 - as above; its text may quote the value
            findings.append(
                Finding(path, f"cannot be encoded and decoded again ({type(error).__name__})", declared=False)
            )
            return
        if not same(back, value):
            findings.append(
                Finding(path, f"is another {check.expected} when it is read back", declared=False)
            )

    return Check(check.expected, check.fits, good, explain)


def any_of(names: Sequence[str]) -> str:
    """Return names as a list with "or"."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} or {last}" if most else last
