"""The event classes and upcasters that a container was given, before it has made its `EventTypes` of them."""

from __future__ import annotations

from catga_core.event_sourcing.upcasting import Upcaster
from catga_core.messages import Event


class EventCatalog:
    """What a container's `EventTypes` knows from its start."""

    __slots__ = ("events", "upcasters")

    def __init__(self) -> None:
        self.events: list[type[Event]] = []
        self.upcasters: list[Upcaster] = []
