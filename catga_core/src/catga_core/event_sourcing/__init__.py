"""Event sourcing: what happened is kept as events, and everything else is worked out from them."""

from catga_core.event_sourcing.event_types import EncodedEvent, EventTypes
from catga_core.event_sourcing.upcasting import Upcaster, upcaster

__all__ = [
    "EncodedEvent",
    "EventTypes",
    "Upcaster",
    "upcaster",
]
