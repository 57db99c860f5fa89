"""What aggregates and deciders have in common: a state that is made of the events of one stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from catga_core.messages import Event

S = TypeVar("S")


class StateShape(msgspec.Struct, Generic[S], frozen=True):
    """How a state becomes a value that a serializer takes, and a state again.

    Args:
        type: The value's type.
        capture: Makes the value of a state.
        restore: Makes the state of an id and a value.
    """

    type: Any
    capture: Callable[[S], Any]
    restore: Callable[[str, Any], S]


class Fold(msgspec.Struct, Generic[S], frozen=True):
    """How a state is made of events.

    Args:
        name: What the state is called, in errors and in the names of snapshots.
        category: What the names of its streams begin with.
        schema_version: The version of the state's shape.
        events: The classes of events it is made of.
        initial: Makes the state before the first event, of the id.
        evolve: Makes the next state of a state and an event.
        shape: Tells how the state is kept in a snapshot; asked when snapshots are wanted.
        fields: Tells a state's parts by name, to compare two of them.
    """

    name: str
    category: str
    schema_version: int
    events: tuple[type[Event], ...]
    initial: Callable[[str], S]
    evolve: Callable[[S, Event], S]
    shape: Callable[[], StateShape[S]]
    fields: Callable[[S], Mapping[str, Any]]
