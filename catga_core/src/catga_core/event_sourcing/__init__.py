"""Event sourcing: what happened is kept as events, and everything else is worked out from them."""

from catga_core.event_sourcing.event_store import MAX_EVENT_BYTES, LogEventStore
from catga_core.event_sourcing.event_types import EncodedEvent, EventTypes
from catga_core.event_sourcing.upcasting import Upcaster, upcaster

__all__ = [
    "MAX_EVENT_BYTES",
    "EncodedEvent",
    "EventTypes",
    "LogEventStore",
    "Upcaster",
    "upcaster",
]
