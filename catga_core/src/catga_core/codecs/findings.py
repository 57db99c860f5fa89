"""What is wrong with a type or a value, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from catga_core.descriptions import shown, with_place


class Finding(NamedTuple):
    """One reason why a value would not be read back as it is.

    Attributes:
        path: The field, such as `items[0].price`; empty for the value itself.
        text: The rule that it breaks, without what stands there.
        declared: Whether it breaks its declared type or constraints; else the format would change it.
        mistyped: Whether its type is wrong, so that no constraint of it was looked at.
    """

    path: str
    text: str
    declared: bool
    mistyped: bool = False


class TypeProblem(NamedTuple):
    """One reason why a type cannot be encoded and decoded.

    Attributes:
        place: The type and the field, such as `Order.items`.
        text: The reason and the fix.
    """

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place} {self.text}"


class Field(NamedTuple):
    """A field of a class, as the place of a problem; its text is only made for one, because it reads the source.

    Attributes:
        cls: The class.
        name: The field's name.
    """

    cls: Any
    name: str

    def __str__(self) -> str:
        return f"{with_place(shown(self.cls), self.cls)}, field {self.name!r}:"


def kind_of(value: Any) -> str:
    """Return the name of a value's class, for error texts."""
    return "None" if value is None else type(value).__name__


def listed(findings: Sequence[Finding]) -> str:
    """Return findings as one line."""
    return "; ".join(f"{each.path}: {each.text}" if each.path else each.text for each in findings)
