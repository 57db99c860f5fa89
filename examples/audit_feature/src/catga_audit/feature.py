"""The feature `audit`: its stage, worker, checks and health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from catga_core import (
    Builder,
    Clock,
    Graph,
    HandlerDefinition,
    Health,
    HealthStatus,
    MessageKind,
    Problem,
    Services,
)
from catga_core.reliability import RetentionFeature

from .behavior import AuditBehavior
from .entries import AuditStore
from .memory import MemoryAuditStore
from .options import AuditOptions
from .trail import AuditTrail
from .writer import AuditWriter

_ALWAYS = frozenset({MessageKind.COMMAND, MessageKind.EVENT})


class AuditFeature:
    """Records which messages were handled, for whom, and how that ended.

    Args:
        options: `None` for the defaults.
    """

    name = "audit"

    def __init__(self, options: AuditOptions | None = None) -> None:
        self._options = options or AuditOptions()
        self._trail = AuditTrail(batch_size=self._options.batch_size, max_waiting=self._options.max_waiting)
        self._services: Services | None = None

    def register(self, builder: Builder, /) -> None:
        """Add the store, the stage, the writer, and the removal of old entries."""
        self._services = builder.services
        # Only where neither the options nor the application chose a store.
        builder.add_default(AuditStore, lambda: (MemoryAuditStore, {}))
        builder.need(AuditStore)
        builder.add_stage(self._stage)
        # The store is a need, so that it starts before the writer and stops after it. The writer itself takes each
        # entry's store from the trail.
        builder.add_worker(
            AuditWriter, self._writer, {"clock": Clock, "store": AuditStore}, name="audit_writer"
        )
        if self._options.retention_seconds is not None:
            builder.use(RetentionFeature).prune(
                "audit", AuditStore, self._prune(self._options.retention_seconds)
            )

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check that every audited message has an id."""
        for handler in graph.handlers:
            described = handler.message_type
            if self._audits(handler) and not described.context:
                yield Problem(
                    f"The audit log identifies {described.name} by its message id, but {described.name} is declared "
                    "with @message(context=False) and has none. Remove context=False."
                )

    def health(self) -> Mapping[str, Health]:
        """Report how many entries were stored, wait, and were lost."""
        trail = self._trail
        details = {"written": trail.written, "waiting": trail.waiting, "lost": trail.lost}
        if trail.lost:
            return {"audit": Health(HealthStatus.DEGRADED, f"{trail.lost} audit entries were lost", details)}
        return {"audit": Health(HealthStatus.HEALTHY, "", details)}

    def _audits(self, handler: HandlerDefinition) -> bool:
        if handler.consumer:
            # It reads a stream, perhaps again from its beginning: nobody has sent it these events.
            return False
        return self._options.queries or handler.message_type.kind in _ALWAYS

    def _stage(self, handler: HandlerDefinition) -> Iterable[AuditBehavior]:
        services = self._services
        if services is None or not self._audits(handler):
            return []
        # Pipelines are compiled again after an override, so this is the store of that moment.
        store, clock = services.get(AuditStore), services.get(Clock)
        return [AuditBehavior(handler, self._trail, store, clock, self._options.actor_header)]

    def _writer(self, clock: Clock, store: AuditStore) -> AuditWriter:
        del store
        return AuditWriter(self._trail, clock, self._options.flush_seconds)

    def _prune(self, retention: float) -> Callable[[AuditStore], Callable[[], Awaitable[int]]]:
        services = self._services

        def of(store: AuditStore) -> Callable[[], Awaitable[int]]:
            def prune() -> Awaitable[int]:
                assert services is not None
                return store.prune(before=services.get(Clock).time() - retention)

            return prune

        return of
