"""`ConsumerWork`: which events a consumer handles, how, and the name of its checkpoint and lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from catga_core.event_sourcing.consumers.lease_limit import LeaseLimit
from catga_core.event_sourcing.consumers.log_loss import LogLosses
from catga_core.event_sourcing.consumers.options import OnLogLoss
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.interfaces.event_store import StoredEvent
from catga_core.messages.message_context import NO_HEADERS

Handle: TypeAlias = Callable[[StoredEvent], Awaitable[None]]
"""Handles one stored event; raises its failure."""


class TooFarAheadError(Exception):
    """The events up to a position are too many for one unit of work."""


class CheckpointMover(Protocol):
    """Moves a consumer's checkpoint within the unit of work of another operation."""

    @property
    def position(self) -> int:
        """The last position the consumer is done with."""
        ...

    async def advance(self, until: int, /) -> None:
        """Handle the events up to a position in the surrounding unit of work, and save the checkpoint there.

        Raises:
            TooFarAheadError: They are too many for one unit of work; none was handled.
        """
        ...

    def advanced(self, until: int, /) -> None:
        """Note that the unit of work around an `advance` is committed."""
        ...


async def _nothing() -> None:
    return


async def _still_wanted() -> bool:
    return True


class ConsumerWork(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer's work.

    Args:
        name: The projection or subscription, for logs, errors and dead letters.
        kind: `projection` or `subscription`, for the same.
        key: The name of its checkpoint and of its lock.
        wants: Which events it handles.
        handle: Handles one event.
        start: Returns the position to start after where there is no checkpoint.
        transactional: Whether effects and checkpoint are written in one unit of work.
        kept: Whether it has a lease and a checkpoint; without them it starts from its beginning in each process.
        confirm: Called in the unit of work that claims the checkpoint, and in each that saves it while it is at 0. Raises
            `CONFLICT` where the work is no longer wanted: nothing else distinguishes a new checkpoint from a deleted one.
        begin: Called in the unit of work that creates the checkpoint.
        still_wanted: Asked before each wait for the lease and after it; `False` ends the consumer.
        superseded: Why it is not wanted then, for health.
        limit: Returns the position up to which to read for now; `None` for no limit.
        at_limit: Called outside of any unit of work when that position is near; returns whether the limit has changed.
        ends_at_limit: Whether the consumer is done then.
        leases: Limits how many consumers of this process hold their lease; `None` for no limit.
        letter_headers: Strings kept with parked events.
        losses: Where it reports that the log has lost its end.
        on_log_loss: Returns the policy for that.
        rebuild: Called by the policy `REBUILD`. Returns whether the consumer begins again now; otherwise a rebuild that was
            requested replaces it.
        continued: Called with the position after which it continues.
    """

    name: str
    kind: str
    key: str
    wants: Callable[[RecordedEvent], bool]
    handle: Handle
    start: Callable[[], Awaitable[int]]
    losses: LogLosses
    transactional: bool = True
    kept: bool = True
    confirm: Callable[[], Awaitable[None]] = _nothing
    begin: Callable[[], Awaitable[None]] = _nothing
    still_wanted: Callable[[], Awaitable[bool]] = _still_wanted
    superseded: str = "another generation is read"
    limit: Callable[[], Awaitable[int | None]] | None = None
    at_limit: Callable[[CheckpointMover], Awaitable[bool]] | None = None
    ends_at_limit: bool = False
    leases: LeaseLimit | None = None
    letter_headers: Mapping[str, str] = NO_HEADERS
    on_log_loss: Callable[[], OnLogLoss] = lambda: OnLogLoss.STOP
    rebuild: Callable[[], Awaitable[bool]] | None = None
    continued: Callable[[int], None] = lambda _position: None

    @property
    def subject(self) -> str:
        """The consumer, for errors."""
        return f"the {self.kind} {self.name!r}"
