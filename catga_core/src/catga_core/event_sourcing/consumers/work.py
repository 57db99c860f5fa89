"""What a follower is to do: which events, with what, and under which names it keeps its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from catga_core.event_sourcing.consumers.quota import Quota
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.interfaces.event_store import StoredEvent
from catga_core.messages.message_context import NO_HEADERS

Handle: TypeAlias = Callable[[StoredEvent], Awaitable[None]]


class TooFarAheadError(Exception):
    """What is to be done is too much for one unit of work."""


class Place(Protocol):
    """Where a follower is, for who decides what comes after it."""

    @property
    def position(self) -> int:
        """The last position it is done with."""
        ...

    async def advance(self, until: int, /) -> None:
        """Handle the events up to a position in the unit of work that surrounds the call, and save the checkpoint there.

        Raises:
            TooFarAheadError: when they are too many for one unit of work; nothing was handled.
        """
        ...

    def advanced(self, until: int, /) -> None:
        """Note that the unit of work around an `advance` is committed."""
        ...


async def _nothing() -> None:
    return


async def _still_wanted() -> bool:
    return True


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One follower's task.

    Parameters:
        name: the projection or subscription, as in logs, errors and dead letters.
        kind: `projection` or `subscription`, for the same.
        key: the name of its checkpoint and of its lock.
        wants: which events.
        handle: what is done with each.
        start: gives the position after which the first one begins that has no checkpoint.
        transactional: whether effects and checkpoint are written in one unit of work.
        kept: whether it has a lease and a checkpoint; without them, it begins anew with each process.
        confirm: done in a unit of work that saves the checkpoint while there is none, or one at 0: raises `CONFLICT` where
            the work is not wanted any more, because nothing else tells a place that is new from one that was taken away.
        begin: done in the unit of work that makes the first checkpoint.
        still_wanted: asked before each begin; `False` ends the follower.
        limit: gives the position up to which to go for now; `None` for no limit.
        at_limit: called, in no unit of work, when that is near; tells whether there is no limit any more.
        ends_at_limit: whether it is done then.
        quota: how many followers of this process may hold their place, `None` for all.
        letter_headers: strings kept with what is parked.
    """

    name: str
    kind: str
    key: str
    wants: Callable[[RecordedEvent], bool]
    handle: Handle
    start: Callable[[], Awaitable[int]]
    transactional: bool = True
    kept: bool = True
    confirm: Callable[[], Awaitable[None]] = _nothing
    begin: Callable[[], Awaitable[None]] = _nothing
    still_wanted: Callable[[], Awaitable[bool]] = _still_wanted
    limit: Callable[[], Awaitable[int | None]] | None = None
    at_limit: Callable[[Place], Awaitable[bool]] | None = None
    ends_at_limit: bool = False
    quota: Quota | None = None
    letter_headers: Mapping[str, str] = NO_HEADERS

    @property
    def thing(self) -> str:
        """What to call it in errors."""
        return f"the {self.kind} {self.name!r}"
