"""The feature `consumers`: what operators use of projections and subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.feature import Builder, Graph, Problem, Services
from catga_core.features.dead_letters.feature import DeadLetterFeature
from catga_core.features.dead_letters.replayers import Replayer
from catga_core.interfaces.dead_letters import DeadLetterSource
from catga_core.interfaces.health import Health


class ConsumersFeature:
    """Offers `Projections` and `Subscriptions` under the provider names `projections` and `subscriptions`.

    Consumers themselves are workers: `add_projection` and `add_subscription` add them.
    """

    name = "consumers"

    def register(self, builder: Builder, /) -> None:
        """Offer the services; they are created when they are first asked for."""
        builder.use(DeadLetterFeature).replay_with(
            DeadLetterSource.PROJECTION, lambda: _parked_replayer(builder.services)
        )
        builder.offer("projections", "catga_core.event_sourcing.projections:Projections")
        builder.offer("subscriptions", "catga_core.event_sourcing.subscriptions:Subscriptions")

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Find nothing wrong: each consumer is checked where it is added."""
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        """Report nothing: each consumer reports."""
        return {}


def _parked_replayer(services: Services) -> Replayer:
    from catga_core.event_sourcing.parked import ParkedEvents

    return services.get(ParkedEvents)
