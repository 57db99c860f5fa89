"""What a projection's handler may ask of its surroundings: where it writes, and whether all this has happened before."""

from __future__ import annotations

from contextvars import ContextVar

import msgspec


class ProjectionContext(msgspec.Struct, frozen=True):
    """The surroundings of a projection's handler.

    Args:
        name: The projection's name.
        version: The version of its class.
        target: The name of what is written: of a table, or of a prefix. A rebuild has another one than what is read
            meanwhile, so a projection that can be rebuilt writes into it and nowhere else.
        replay: Whether the event is handled again, or is older than the projection: what has consequences outside, such as
            a mail, is left out then.
    """

    name: str
    version: int
    target: str
    replay: bool


active_projection: ContextVar[ProjectionContext | None] = ContextVar("catga_projection", default=None)


def current_projection() -> ProjectionContext:
    """Return the surroundings of the projection whose handler, `reset` or `remove` runs.

    Raises:
        LookupError: Outside of any.
    """
    context = active_projection.get()
    if context is None:
        msg = "current_projection() was called where no projection handles an event"
        raise LookupError(msg)
    return context


def is_replay() -> bool:
    """Tell whether an event is handled that this projection, or the one it replaces, has had or should have had before.

    That is so in a rebuild, for events that are older than the projection, and for parked events. It is false outside of
    a projection.
    """
    context = active_projection.get()
    return context is not None and context.replay
