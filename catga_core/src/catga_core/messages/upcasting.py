"""Upcasters: functions that convert the fields of an old message to a newer version before it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from catga_core.descriptions import with_place
from catga_core.errors import ConfigurationError, DeclarationError, SerializationError
from catga_core.messages.serializer import Serializer
from catga_core.messages.types import check_wire_name
from catga_core.option_checks import MOST_COUNT, check_count

M = TypeVar("M")

Fields: TypeAlias = dict[str, Any]
"""A message's fields by name, as its serializer reads them without the class: texts, numbers, lists, dicts."""

Shape: TypeAlias = tuple[str, int]
"""The wire name and the version of a message."""


class Upcaster(msgspec.Struct, frozen=True):
    """One step of a chain: from one version of a message to the next.

    Attributes:
        name: The wire name of the messages it takes.
        from_version: Their version.
        to_name: The wire name of what it makes.
        to_version: The version of what it makes.
        function: Converts the fields; one message becomes one message. It may change the dict it is given.
    """

    name: str
    from_version: int
    to_name: str
    to_version: int
    function: Callable[[Fields], Fields]

    def __call__(self, data: Fields, /) -> Fields:
        """Return the new fields."""
        return self.function(data)

    def __str__(self) -> str:
        name = getattr(self.function, "__qualname__", "an upcaster").rsplit("<locals>.")[-1]
        step = f"{self.name} v{self.from_version} to {self.to_name} v{self.to_version}"
        return f"{with_place(name, self.function)}, {step}"


def upcaster(
    name: str, *, from_version: int, to_name: str | None = None, to_version: int | None = None
) -> Callable[[Callable[[Fields], Fields]], Upcaster]:
    """Make a function an upcaster; register it with `add_upcasters`.

    Args:
        name: The wire name of the messages it takes.
        from_version: Their version, from 1.
        to_name: The wire name of what it makes, where the message was renamed; `None` for the same.
        to_version: The version of what it makes; `None` for the next.

    Raises:
        DeclarationError: For an invalid wire name, and for a step that does not lead to a later version or another name.
    """
    check_wire_name(name)
    if to_name is not None:
        check_wire_name(to_name)
    try:
        check_count("from_version", from_version, most=MOST_COUNT)
        check_count("to_version", to_version, most=MOST_COUNT, optional=True)
    except (TypeError, ValueError) as error:
        raise DeclarationError(str(error)) from None
    target = (to_name or name, from_version + 1 if to_version is None else to_version)
    if from_version < 1 or target[1] < 1 or (target[0] == name and target[1] <= from_version):
        msg = (
            f"an upcaster cannot lead from {name} v{from_version} to {target[0]} v{target[1]}; versions are whole "
            "numbers from 1. Lead to a later version, or to another name."
        )
        raise DeclarationError(msg)

    def mark(function: Callable[[Fields], Fields]) -> Upcaster:
        return Upcaster(name, from_version, *target, function)

    return mark


class Upcasters:
    """The registered upcasters, by the shape each one takes."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: dict[Shape, Upcaster] = {}

    def add(self, step: Upcaster) -> None:
        """Register an upcaster; registering the same one again changes nothing.

        Raises:
            ConfigurationError: When another upcaster takes the same shape.
        """
        shape = (step.name, step.from_version)
        known = self._steps.setdefault(shape, step)
        if known is not step and known != step:
            msg = (
                f"Two upcasters take {step.name} v{step.from_version}: {known}; and {step}. Remove one: a message has "
                "one way to its newest version."
            )
            raise ConfigurationError(msg)

    @property
    def shapes(self) -> list[Shape]:
        """The names and versions that have an upcaster."""
        return list(self._steps)

    def chain(self, shape: Shape) -> tuple[list[Upcaster], Shape]:
        """Return the steps for messages of a shape, and the shape they end with.

        Raises:
            ConfigurationError: When the steps lead in a circle.
        """
        steps: list[Upcaster] = []
        passed = {shape}
        while (step := self._steps.get(shape)) is not None:
            steps.append(step)
            shape = (step.to_name, step.to_version)
            if shape in passed:
                text = "; ".join(map(str, steps))
                msg = f"Upcasters lead in a circle: {text}. End the chain at a version that has a class."
                raise ConfigurationError(msg)
            passed.add(shape)
        return steps, shape

    def problems(self, versions_of: Callable[[str], Sequence[int]]) -> list[str]:
        """Return an error text for each circle, and for each chain that does not end with a known class.

        Args:
            versions_of: Returns the known versions of a wire name, ascending.
        """
        found: dict[str, None] = {}
        for start in self._steps:
            try:
                steps, end = self.chain(start)
            except ConfigurationError as circle:
                found.update(dict.fromkeys(circle.problems))
                continue
            versions = versions_of(end[0])
            if end[1] not in versions:
                found[_gap(steps[-1], end, versions)] = None
        return list(found)


def _gap(last: Upcaster, end: Shape, versions: Sequence[int]) -> str:
    name, version = end
    if not versions:
        fix = f"no class named {name} is known. Import the module that defines it, or register the class."
    elif versions[-1] > version:
        fix = f"the class is {name} v{versions[-1]}. Add the upcaster from v{version}."
    else:
        fix = (
            f"the class is {name} v{versions[-1]}. Give the class @message(version={version}), or remove the "
            "upcaster."
        )
    return f"Upcasters end with {name} v{version} ({last}), and {fix}"


def upcasting(
    serializer: Serializer, steps: Sequence[Upcaster], decode: Callable[[bytes], M]
) -> Callable[[bytes], M]:
    """Return a decoder that runs the bytes of an old message through upcasters first.

    Args:
        serializer: The format of the bytes.
        steps: The upcasters, in order.
        decode: Decodes the newest version.
    """
    raw = serializer.decoder(dict[str, Any])
    encode = serializer.encode

    def upcast(data: bytes) -> M:
        fields = raw(data)
        for step in steps:
            fields = _stepped(step, fields)
        # Through bytes again, so that any serializer does it and reads its own way of writing times and numbers.
        return decode(encode(fields))

    return upcast


def _stepped(step: Upcaster, fields: Fields) -> Fields:
    try:
        made: object = step.function(fields)
    except Exception as cause:
        # The exception's own text may quote the message's fields; it is there as the cause.
        msg = f"its upcaster raised {type(cause).__name__}: {step}"
        raise SerializationError(msg, details={"upcaster": str(step)}) from cause
    if not isinstance(made, dict):
        msg = f"its upcaster returned {type(made).__name__}, not a dict: {step}"
        raise SerializationError(msg, details={"upcaster": str(step)})
    return made  # pyright: ignore[reportUnknownVariableType] - the content is checked when it is decoded
