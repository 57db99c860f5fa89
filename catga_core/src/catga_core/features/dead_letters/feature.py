"""The feature `dead_letters`: events that handlers failed for are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.clock import Clock
from catga_core.feature import Builder, FeatureHost, Graph, Problem
from catga_core.features.checks import duplicate_names
from catga_core.features.dead_letters.counters import DeadLetterCounters
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.mediator import FailureSink
from catga_core.messages.serializer import Serializer


def add_dead_letters(container: FeatureHost) -> None:
    """Keep each event that a handler failed for as a dead letter.

    Args:
        container: The application's container.
    """
    container.add_feature(DeadLetterFeature())


class DeadLetterFeature:
    """Writes a dead letter for each event handler that fails, and lets operators handle dead letters.

    Args:
        keep_failed_events: Without it only dead letters of other features, such as the outbox, are there to be handled.
    """

    name = "dead_letters"

    def __init__(self, *, keep_failed_events: bool = True) -> None:
        self._keep_failed_events = keep_failed_events
        self._counters = DeadLetterCounters()

    def register(self, builder: Builder, /) -> None:
        """Add the sink for failed events, and the operators' queue."""
        builder.offer("dead_letter_queue", "catga_core.features.dead_letters.queue:DeadLetterQueue")
        if self._keep_failed_events:
            self._keep(builder)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the names of handlers."""
        return duplicate_names(graph, "a dead letter") if self._keep_failed_events else ()

    def health(self) -> Mapping[str, Health]:
        """Report how many dead letters were written, and how many could not be."""
        if not self._keep_failed_events:
            return {}
        counters = self._counters
        details = {"dead_letters": counters.dead_letters, "lost_dead_letters": counters.lost_dead_letters}
        if counters.lost_dead_letters:
            text = f"{counters.lost_dead_letters} dead letters could not be written"
            return {"dead_letters": Health(HealthStatus.DEGRADED, text, details)}
        return {"dead_letters": Health(HealthStatus.HEALTHY, "", details)}

    def _keep(self, builder: Builder) -> None:
        services = builder.services
        builder.need(DeadLetterStore)

        def make() -> FailureSink:
            from catga_core.features.dead_letters.recorder import FailedEvents

            # Asked for with each letter: a store that stands in for it may be there by then.
            return FailedEvents(
                lambda: services.get(DeadLetterStore),
                services.get(Serializer),
                services.get(Clock),
                self._counters,
            )

        builder.set_failure_sink(make)
