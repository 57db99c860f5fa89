"""Upcasters: functions that bring the data of an old event to the shape of a newer version, before it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import with_place
from catga_core.messages import check_wire_name

Fields: TypeAlias = dict[str, Any]
"""An event's fields by name, as its serializer reads them without knowing the class: texts, numbers, lists, dicts."""

Shape: TypeAlias = tuple[str, int]
"""The wire name and the version of an event."""


class Upcaster(msgspec.Struct, frozen=True):
    """One step of a chain: from one version of an event to the next.

    Parameters:
        name: the wire name of the events it takes.
        from_version: their version.
        to_name: the wire name of what it makes.
        to_version: its version.
        function: makes the new fields of the old; one event becomes one event. It may change what it is given.
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
    """Make a function an upcaster of old events; register it with `add_upcasters`.

    Parameters:
        name: the wire name of the events it takes.
        from_version: their version, from 1.
        to_name: the wire name of what it makes, where the event was renamed; `None` for the same.
        to_version: the version of what it makes; `None` for the next.

    Raises:
        ValueError: for a name that is none, and for a step that does not lead on.
    """
    check_wire_name(name)
    if to_name is not None:
        check_wire_name(to_name)
    target = (to_name or name, from_version + 1 if to_version is None else to_version)
    if from_version < 1 or target[1] < 1 or (target[0] == name and target[1] <= from_version):
        msg = (
            f"an upcaster cannot lead from {name} v{from_version} to {target[0]} v{target[1]}: "
            "versions are whole numbers from 1, and it makes a later version, or another name"
        )
        raise ValueError(msg)

    def mark(function: Callable[[Fields], Fields]) -> Upcaster:
        return Upcaster(name, from_version, *target, function)

    return mark


class Upcasters:
    """The steps that are known, by the shape each one takes."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: dict[Shape, Upcaster] = {}

    def add(self, step: Upcaster) -> None:
        """Take one more step; the same one again changes nothing.

        Raises:
            ConfigurationError: when another one takes the same shape.
        """
        shape = (step.name, step.from_version)
        known = self._steps.setdefault(shape, step)
        if known is not step and known != step:
            msg = (
                f"two upcasters take {step.name} v{step.from_version}: {known}; and {step}: "
                "keep one, an event has one way to its newest version"
            )
            raise ConfigurationError(msg)

    def chain(self, shape: Shape) -> tuple[list[Upcaster], Shape]:
        """Return the steps that an event of a shape goes through, and the shape it ends with.

        Raises:
            ConfigurationError: when the steps lead in a circle.
        """
        steps: list[Upcaster] = []
        passed = {shape}
        while (step := self._steps.get(shape)) is not None:
            steps.append(step)
            shape = (step.to_name, step.to_version)
            if shape in passed:
                shown = "; ".join(map(str, steps))
                msg = (
                    f"upcasters lead in a circle: {shown}: an event has to end at a version that has a class"
                )
                raise ConfigurationError(msg)
            passed.add(shape)
        return steps, shape

    def problems(self, classes: Mapping[Shape, object]) -> list[str]:
        """Return what is wrong with the chains, seen from the classes there are.

        Parameters:
            classes: what is registered, by shape.
        """
        found: dict[str, None] = {}
        for start in self._steps:
            try:
                steps, end = self.chain(start)
            except ConfigurationError as circle:
                found.update(dict.fromkeys(circle.problems))
                continue
            if end not in classes:
                found[_gap(steps[-1], end, classes)] = None
        return list(found)


def _gap(last: Upcaster, end: Shape, classes: Mapping[Shape, object]) -> str:
    name, version = end
    versions = sorted(known for other, known in classes if other == name)
    if not versions:
        mend = f"no class is registered for {name} at all: register it"
    elif versions[-1] > version:
        mend = f"there is no way on to {name} v{versions[-1]}, which is registered: add the upcaster from v{version}"
    else:
        mend = f"registered is {name} v{versions[-1]}: give the class @message(version={version}), or remove the upcaster"
    return f"upcasters end with {name} v{version} ({last}), and {mend}"
