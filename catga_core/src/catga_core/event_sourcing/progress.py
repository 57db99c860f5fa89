"""How far a state is: which events are in it, which are still to be stored, and which snapshot it came from."""

from __future__ import annotations

import msgspec

from catga_core.interfaces.event_store import EventData


class Progress(msgspec.Struct, eq=False):
    """How far one state is.

    Args:
        version: The stored events that are in it.
        last_id: The message id of the last of them, `None` for none.
        snapshot_version: The version of the newest snapshot it is known to have, 0 for none.
        since: When that snapshot was taken, or else when its first event was recorded; microseconds since the epoch,
            `None` for neither.
        asked: Whether storing the first pending events was begun, and how that ended is not known.
        pending: Events that are in the state and not stored yet, in their order.
    """

    version: int = 0
    last_id: str | None = None
    snapshot_version: int = 0
    since: int | None = None
    asked: bool = False
    pending: list[EventData] = []
