"""What becomes of an event of the outbox that neither a handler nor the dead letters took: it stays in the outbox."""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar

from catga_core.errors import CatgaError


class HandedOver:
    """A stored event on its way to the handlers of this process.

    Parameters:
        message_id: the event's.
    """

    __slots__ = ("message_id", "untaken")

    def __init__(self, message_id: str) -> None:
        self.message_id: str = message_id
        self.untaken: CatgaError | None = None


_under_way: ContextVar[HandedOver | None] = ContextVar("catga_handed_over", default=None)


async def handed_over(message_id: str, delivery: Awaitable[None]) -> None:
    """Deliver a stored event.

    Parameters:
        message_id: the event's.
        delivery: delivers it.

    Raises:
        CatgaError: when a handler failed for it and no dead letter could be written.
    """
    event = HandedOver(message_id)
    token = _under_way.set(event)
    try:
        await delivery
    finally:
        _under_way.reset(token)
    if event.untaken is not None:
        raise event.untaken


def leave_in_outbox(message_id: str, error: CatgaError) -> bool:
    """Have an event stay in the outbox; `False` where it does not come from there.

    Parameters:
        message_id: the event's.
        error: why, for the relay.
    """
    event = _under_way.get()
    if event is None or event.message_id != message_id:
        return False
    event.untaken = event.untaken or error
    return True
