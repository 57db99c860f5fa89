"""`current_projection()` and `is_replay()`: the target a projection writes, and whether an event is replayed."""

from __future__ import annotations

from contextvars import ContextVar

import msgspec


class ProjectionContext(msgspec.Struct, frozen=True):
    """The context of a projection's methods.

    Args:
        name: The projection's name.
        version: The version of its class.
        target: The name of the table or prefix to write. A rebuild has another target than the one that is read meanwhile, so a
            projection that can be rebuilt writes only there.
        replay: Whether the event is handled again, or is older than the projection: leave out consequences outside, such
            as a mail.
    """

    name: str
    version: int
    target: str
    replay: bool


active_projection: ContextVar[ProjectionContext | None] = ContextVar("catga_projection", default=None)


def current_projection() -> ProjectionContext:
    """Return the context of the projection whose method, `reset` or `remove` runs.

    Raises:
        LookupError: Outside of a projection.
    """
    context = active_projection.get()
    if context is None:
        msg = "current_projection() was called outside of a projection's methods. Call it in one of them."
        raise LookupError(msg)
    return context


def is_replay() -> bool:
    """Return whether the event was, or should have been, handled before by this projection or the one it replaces.

    It is true in a rebuild, for events that are older than the projection, and for parked events; false outside of a
    projection.
    """
    context = active_projection.get()
    return context is not None and context.replay
