"""The check of what is declared as `Any`, `object`, or a `dict` or `list` of such."""

from __future__ import annotations

import math
from typing import Any

from catga_core.codecs.checks import Check
from catga_core.codecs.findings import Finding, kind_of
from catga_core.codecs.rules import Rule
from catga_core.codecs.serializing import JSON, NO_FORMAT
from catga_core.codecs.special import JSON_NUMBER, VALID_TEXT, int_bound
from catga_core.descriptions import class_of

_PLAIN: frozenset[type[Any]] = frozenset({type(None), bool, int, str})
_FIX = "declare its type instead of Any, object, dict or list"


_ANYTHING = Check(
    "any value", lambda _: True, lambda _: True, lambda _value, _path, _findings: None, inline="True"
)


def any_check(format: str) -> Check:  # noqa: C901 - its inner functions share what the format allows
    """Return the check of a value of any type: only what a format reads back without its type is valid.

    Args:
        format: `msgpack`, `json` or `NO_FORMAT`.
    """
    if format == NO_FORMAT:
        return _ANYTHING
    is_json = format == JSON
    scalars = _PLAIN if is_json else _PLAIN | {float, bytes}
    keys: frozenset[type[Any]] = frozenset({str}) if is_json else scalars
    bound = int_bound(format)
    rules: dict[type[Any], Rule] = {str: VALID_TEXT, **({} if bound is None else {int: bound})}

    def good(value: Any) -> bool:
        cls: Any = class_of(value)
        if cls in rules:
            return rules[cls].holds(value)
        if cls in scalars:
            return True
        if cls is float:
            return math.isfinite(value)
        if cls is list:
            return all(map(good, value))
        return (
            cls is dict
            and all(map(keys.__contains__, map(type, value)))
            and all(map(good, value))
            and all(map(good, value.values()))
        )

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        cls: Any = class_of(value)
        if cls is list:
            _explain_each(value, path, findings)
        elif cls is dict:
            odd = next((key for key in value if type(key) not in keys), None)
            if odd is not None:
                findings.append(_lost(path, f"has a key that is {kind_of(odd)}"))
            _explain_each([key for key in value if type(key) in keys], f"{path}.keys()", findings)
            _explain_each(list(value.values()), f"{path}.values()", findings)
        elif cls is float:
            findings.append(Finding(path, JSON_NUMBER.text(value), declared=False))
        elif cls in rules:
            findings.append(Finding(path, rules[cls].text(value), declared=False))
        else:
            findings.append(_lost(path, f"is {kind_of(value)}"))

    def _explain_each(values: list[Any], path: str, findings: list[Finding]) -> None:
        for number, each in enumerate(values):
            if not good(each):
                explain(each, f"{path}[{number}]", findings)

    return Check("any value", lambda _: True, good, explain)


def _lost(path: str, what: str) -> Finding:
    return Finding(path, f"{what}, which would be read back as another type: {_FIX}", declared=False)
