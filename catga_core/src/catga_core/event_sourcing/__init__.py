"""Event sourcing: what happened is kept as events, and everything else is worked out from them."""

from catga_core.event_sourcing.aggregates import Aggregate, apply
from catga_core.event_sourcing.decider_repositories import Decided, DeciderRepository
from catga_core.event_sourcing.deciders import Decider
from catga_core.event_sourcing.event_store import MAX_EVENT_BYTES, LogEventStore
from catga_core.event_sourcing.event_types import EncodedEvent, EventTypes
from catga_core.event_sourcing.plugin import add_aggregate, add_decider, add_events, add_upcasters
from catga_core.event_sourcing.policies import SinceSnapshot, SnapshotPolicy, after, either, every
from catga_core.event_sourcing.repositories import AggregateRepository
from catga_core.event_sourcing.snapshots import SnapshotCounts, Snapshots
from catga_core.event_sourcing.subscriptions.publisher import add_event_publisher
from catga_core.event_sourcing.time_travel import MISSING, Change, Difference, Moment
from catga_core.messages.catalog import MessageCatalog as EventCatalog
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.upcasting import Upcaster, upcaster

__all__ = [
    "MAX_EVENT_BYTES",
    "MISSING",
    "Aggregate",
    "AggregateRepository",
    "Change",
    "Decided",
    "Decider",
    "DeciderRepository",
    "Difference",
    "EncodedEvent",
    "EventCatalog",
    "EventTypes",
    "LogEventStore",
    "MessageRegistry",
    "Moment",
    "SinceSnapshot",
    "SnapshotCounts",
    "SnapshotPolicy",
    "Snapshots",
    "Upcaster",
    "add_aggregate",
    "add_decider",
    "add_event_publisher",
    "add_events",
    "add_upcasters",
    "after",
    "apply",
    "either",
    "every",
    "upcaster",
]
