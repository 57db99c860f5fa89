"""The feature `inbox`: each handler has each event once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.feature import Builder, FeatureHost, Graph, Problem, Services
from catga_core.features.checks import duplicate_names, other_storage, without_message_id
from catga_core.features.inbox.counters import InboxCounters
from catga_core.features.inbox.options import InboxOptions
from catga_core.features.retention.feature import RetentionFeature
from catga_core.features.retention.pruning import Prune
from catga_core.features.units_of_work.feature import UnitOfWorkFeature
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.storage import Storage
from catga_core.messages import MessageKind
from catga_core.messages.serializer import Serializer
from catga_core.pipeline.behavior import AnyBehavior


def add_inbox(container: FeatureHost, options: InboxOptions | None = None) -> None:
    """Handle every event in a unit of work, once for each message id and handler.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(InboxFeature(options))


class InboxFeature:
    """Records (message id, handler) in the handler's unit of work, and skips what was recorded before.

    Args:
        options: `None` for the defaults.
    """

    name = "inbox"

    def __init__(self, options: InboxOptions | None = None) -> None:
        self._options = options or InboxOptions()
        self._counters = InboxCounters()
        self._services: Services | None = None

    def register(self, builder: Builder, /) -> None:
        """Add the stage, the unit of work around it, and the pruning of what was recorded."""
        self._services = builder.services
        builder.need(Storage, InboxStore)
        builder.use(UnitOfWorkFeature).require(MessageKind.EVENT)
        builder.use(RetentionFeature).prune("inbox", InboxStore, self._prune)
        builder.add_stage(self._stage)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the storage, the names of handlers, and that events have ids."""
        yield from other_storage(graph, "enable_inbox", "the inbox", InboxStore)
        yield from duplicate_names(graph, "the inbox")
        events = [each.message_type for each in graph.handlers if each.message_type.kind is MessageKind.EVENT]
        yield from without_message_id(events, "The inbox")

    def health(self) -> Mapping[str, Health]:
        """Report how many duplicates were skipped."""
        details = {"skipped_duplicates": self._counters.skipped_duplicates}
        return {"inbox": Health(HealthStatus.HEALTHY, "", details)}

    def _stage(self, handler: HandlerDefinition) -> Iterable[AnyBehavior]:
        # A consumer's checkpoint is its deduplication.
        if self._services is None or handler.consumer or handler.message_type.kind is not MessageKind.EVENT:
            return []
        from catga_core.features.inbox.behavior import InboxBehavior, OvertakenBehavior

        services = self._services
        encode = services.get(Serializer).encode
        inbox, name = services.get(InboxStore), handler.name
        stages: list[AnyBehavior] = [InboxBehavior(inbox, name, self._counters, encode)]
        if not services.get(Storage).capabilities.immediate:
            # Elsewhere the second of two deliveries waits for the first.
            stages.append(OvertakenBehavior(inbox, name, self._counters, encode))
        return stages

    def _prune(self, store: InboxStore) -> Prune:
        return lambda: store.prune(older_than=self._options.retention_seconds)
