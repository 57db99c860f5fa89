"""The feature `event_sourcing`: streams of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from catga_core.clock import Clock
from catga_core.feature import Builder, Graph, Problem
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.health import Health

if TYPE_CHECKING:
    from catga_core.event_sourcing.append_hooks import AppendHooks
    from catga_core.event_sourcing.event_types import EventTypes


class EventSourcingFeature:
    """Provides the event store and the event classes.

    Nothing of it is imported or created before it is asked for.

    Args:
        max_event_bytes: An event with more bytes is refused before anything is written.
    """

    name = "event_sourcing"

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes

    def register(self, builder: Builder, /) -> None:
        """Provide the services by default."""
        builder.add_default(EventStore, self._event_store)
        builder.offer("event_types", "catga_core.event_sourcing.event_types:EventTypes")

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Find nothing wrong: classes are checked by the registry."""
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        """Report nothing: the storage reports."""
        return {}

    def _event_store(self) -> tuple[Callable[..., Any], Mapping[str, Any]]:
        from catga_core.event_sourcing.append_hooks import AppendHooks
        from catga_core.event_sourcing.event_store import LogEventStore
        from catga_core.event_sourcing.event_types import EventTypes

        def make(log: EventLog, types: EventTypes, clock: Clock, hooks: AppendHooks) -> EventStore:
            return LogEventStore(log, types, clock, hooks, max_event_bytes=self._max_event_bytes)

        return make, {"log": EventLog, "types": EventTypes, "clock": Clock, "hooks": AppendHooks}
