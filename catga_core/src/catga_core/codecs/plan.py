"""`CodecPlan`: what is known of a type's encoding, compiled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec.inspect as shape

from catga_core.codecs.annotations import readable
from catga_core.codecs.checks import Check
from catga_core.codecs.compiler import compile_check
from catga_core.codecs.findings import Finding, TypeProblem
from catga_core.codecs.types import problems_of

_PLAN = "__catga_plan__"


class CodecPlan:
    """Whether a type can be encoded and decoded, and the checks of its values.

    Args:
        hint: The type.
        names: What its annotations may use besides the modules of its classes.
    """

    __slots__ = ("_bounded", "_checks", "problems", "type")

    def __init__(self, hint: Any, names: Mapping[str, Any] | None = None) -> None:
        self.type: Any = readable(hint, names or {})
        self.problems: Sequence[TypeProblem] = problems_of(self.type)
        self._checks: dict[str, Check] = {}
        self._bounded: dict[str, Check] = {}

    def check(self, format: str) -> Check:
        """Return the check of the type's values in a format.

        Args:
            format: `msgpack`, `json`, or `NO_FORMAT` for their declared types and constraints.
        """
        known = self._checks.get(format)
        if known is None:
            known = self._checks[format] = compile_check(shape.type_info(self.type), format)
        return known

    def bounded_check(self, format: str) -> Check:
        """Return the check of values that are not encoded afterwards: it knows what the format has no bytes for.

        Args:
            format: `msgpack` or `json`.
        """
        known = self._bounded.get(format)
        if known is None:
            known = self._bounded[format] = compile_check(shape.type_info(self.type), format, bounded=True)
        return known

    def findings(self, value: Any, format: str) -> list[Finding]:
        """Return why a value would not be read back as it is; nothing for one that would.

        Args:
            value: The value.
            format: `msgpack` or `json`.
        """
        return findings_by(self.check(format), value)


def findings_by(check: Check, value: Any) -> list[Finding]:
    """Return why a check refuses a value; nothing for one that passes it.

    Args:
        check: The check.
        value: The value.
    """
    found: list[Finding] = []
    try:
        if not check.good(value):
            check.explain(value, "", found)
            found = found or [Finding("", "would be read back as another value", declared=False)]
    except RecursionError:
        found = [Finding("", "is nested too deep", declared=False)]
    return found


def plan_of(hint: Any, names: Mapping[str, Any] | None = None) -> CodecPlan:
    """Return the plan of a type; that of a class is compiled once.

    Args:
        hint: The type.
        names: What its annotations may use besides the modules of its classes.
    """
    own: Mapping[str, Any] = vars(hint) if isinstance(hint, type) else {}
    known: CodecPlan | None = own.get(_PLAN)
    if known is None:
        known = CodecPlan(hint, names)
        # A type with problems is looked at again: a name may be defined later, a foreign type registered.
        if isinstance(hint, type) and not known.problems:
            try:
                # On the class itself, so that it goes when the class goes.
                setattr(hint, _PLAN, known)
            except (TypeError, AttributeError):
                return known
    return known
