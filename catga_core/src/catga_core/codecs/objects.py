"""The checks of Structs, dataclasses and named tuples."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from catga_core.codecs.checks import Check, Steps, exactly, test_of, tested
from catga_core.codecs.findings import Finding


def object_check(cls: type[Any], parts: Sequence[tuple[str, Check]]) -> Check:
    """Return the check of the objects of a class.

    Args:
        cls: The class.
        parts: The check of each field.
    """
    whole = exactly(cls.__name__, cls)
    left_out = _may_be_unset(cls)
    lines = ["if type(v) is not cls: {fail}"]
    names: dict[str, Any] = {"cls": cls, "UNSET": msgspec.UNSET}
    for number, (name, check) in enumerate(parts):
        if name.isidentifier() and not keyword.iskeyword(name):
            lines.append(f"x = v.{name}")
        else:
            names[f"get_{number}"] = _getter(name)
            lines.append(f"x = get_{number}(v)")
        names[f"test_{number}"] = test_of(check)
        test = check.inline or f"test_{number}(x)"
        if name in left_out:
            test = f"x is UNSET or {test}"
        lines.append(f"if not ({test}): {{fail}}")
    steps = Steps(tuple(lines), names)

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if type(value) is not cls:
            whole.explain(value, path, findings)
            return
        for name, check in parts:
            part = getattr(value, name)
            if not check.good(part) and not (part is msgspec.UNSET and name in left_out):
                check.explain(part, f"{path}.{name}" if path else name, findings)

    return Check(cls.__name__, whole.fits, tested(steps), explain, steps=steps)


def _getter(name: str) -> Callable[[Any], Any]:
    return lambda value: getattr(value, name)


def _may_be_unset(cls: type[Any]) -> frozenset[str]:
    """Return the fields that are unset by default, and so are unset again when they were left out."""
    if not issubclass(cls, msgspec.Struct):
        return frozenset()
    fields = msgspec.structs.fields(cls)
    return frozenset(each.name for each in fields if each.default is msgspec.UNSET)
