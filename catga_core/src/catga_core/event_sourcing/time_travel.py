"""A state as it was, and what has changed between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from catga_core.event_sourcing.event_store import microseconds_of
from catga_core.event_sourcing.progress import Progress
from catga_core.event_sourcing.state_streams import StateStreams
from catga_core.interfaces.event_store import StoredEvent
from catga_core.option_checks import MOST_COUNT

S = TypeVar("S")

Moment: TypeAlias = int | datetime
"""A version of a stream (0 for before its first event), or a point in time: an aware datetime."""


class Change(msgspec.Struct, frozen=True):
    """One field of a state that has changed.

    Args:
        before: Its value; `MISSING` where there was none.
        after: Its value then.
    """

    before: Any
    after: Any


class _Missing:
    """Stands in a `Change` for a field that is not there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()
"""The value of a field that is not there."""


class Difference(msgspec.Struct, Generic[S], frozen=True):
    """What has become of a state between two moments.

    Args:
        from_version: The version of the first state.
        to_version: The version of the second.
        before: The first state.
        after: The second.
        changes: The fields that differ, by name.
        events: What has happened between, in order.
    """

    from_version: int
    to_version: int
    before: S
    after: S
    changes: Mapping[str, Change]
    events: tuple[StoredEvent, ...]


async def state_at(streams: StateStreams[S], id: str, moment: Moment) -> tuple[S, Progress]:
    """Return the state at a moment, and how far it is.

    Up to a time means: up to the first event that was recorded later.

    Raises:
        StreamNotFoundError: For a version that is not there yet.
        ValueError: For a version below 0, or a naive datetime.
    """
    if isinstance(moment, datetime):
        return await streams.load_until(id, microseconds_of(moment, "time"))
    if type(moment) is not int or moment < 0:
        msg = f"{moment!r} is not a moment: give a version, 0 or more, or an aware datetime"
        raise ValueError(msg)
    # No stream has so many events, and no storage can compare larger numbers.
    state, progress = await streams.load(id, version=min(moment, MOST_COUNT))
    if progress.version != moment:
        raise streams.not_found(id, moment, progress.version)
    return state, progress


async def difference(streams: StateStreams[S], id: str, from_: Moment, to: Moment) -> Difference[S]:
    """Return what has changed between two moments.

    Raises:
        StreamNotFoundError: For a version that is not there yet.
        ValueError: When the first moment is after the second, for a version below 0, or a naive datetime.
    """
    before, first = await state_at(streams, id, from_)
    after, second = await state_at(streams, id, to)
    if first.version > second.version:
        msg = (
            f"from_={from_!r} is version {first.version}, and to={to!r} is version {second.version}: "
            "give the earlier one first"
        )
        raise ValueError(msg)
    events: tuple[StoredEvent, ...] = ()
    if first.version < second.version:
        stream = streams.store.read(
            streams.stream_id(id), from_version=first.version + 1, to_version=second.version
        )
        events = tuple([stored async for stored in stream])
    fields = streams.fold.fields
    changes = _changes(fields(before), fields(after))
    return Difference(first.version, second.version, before, after, changes, events)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Change]:
    names = dict.fromkeys([*before, *after])
    pairs = {name: Change(before.get(name, MISSING), after.get(name, MISSING)) for name in names}
    return {name: change for name, change in pairs.items() if change.before != change.after}
