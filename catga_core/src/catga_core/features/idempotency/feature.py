"""The feature `idempotency`: a repeated command gets the recorded result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.clock import Clock
from catga_core.feature import Builder, FeatureHost, Graph, Problem, Services
from catga_core.features.checks import without_message_id
from catga_core.features.idempotency.counters import IdempotencyCounters
from catga_core.features.idempotency.marks import IdempotencyRule, idempotency_rule
from catga_core.features.idempotency.options import IdempotencyOptions
from catga_core.features.retention.feature import RetentionFeature
from catga_core.features.units_of_work.feature import UnitOfWorkFeature
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.idempotency import IdempotencyStore
from catga_core.interfaces.storage import Storage
from catga_core.messages import MessageKind, MessageType
from catga_core.messages.serializer import Serializer
from catga_core.pipeline.behavior import AnyBehavior


def add_idempotency(container: FeatureHost, options: IdempotencyOptions | None = None) -> None:
    """Deduplicate commands; duplicates receive the recorded result.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(IdempotencyFeature(options))


class IdempotencyFeature:
    """Claims a command's key, and records the result of its handler.

    Args:
        options: `None` for the defaults; with `all_commands=False` only commands with `@idempotent` are deduplicated.
    """

    name = "idempotency"

    def __init__(self, options: IdempotencyOptions | None = None) -> None:
        self._options = options or IdempotencyOptions()
        self._counters = IdempotencyCounters()
        self._services: Services | None = None
        self._units: UnitOfWorkFeature | None = None
        self._builder: Builder | None = None
        self._used = False

    def register(self, builder: Builder, /) -> None:
        """Add the stage; the store is needed from the first command that is deduplicated."""
        self._services, self._builder, self._used = builder.services, builder, False
        self._units = builder.use(UnitOfWorkFeature)
        self._units.claim(self._applies)
        builder.add_stage(self._stage)
        if self._options.all_commands:
            self._use()
        builder.on_handler(self._on_handler)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check that commands which are known by their message id have one."""
        by_id = [
            each.message_type
            for each in graph.handlers
            if (rule := self._rule(each.message_type)) is not None and rule.key is None
        ]
        yield from without_message_id(by_id, "Idempotency without a key")

    def health(self) -> Mapping[str, Health]:
        """Report how many commands were answered with a recorded result."""
        if not self._used:
            return {}
        details = {"repeated_commands": self._counters.repeated_commands}
        return {"idempotency": Health(HealthStatus.HEALTHY, "", details)}

    def _on_handler(self, handler: HandlerDefinition) -> None:
        if self._applies(handler):
            self._use()

    def _use(self) -> None:
        if self._used or self._builder is None:
            return
        self._used = True
        self._builder.need(IdempotencyStore)
        self._builder.use(RetentionFeature).prune("idempotency", IdempotencyStore, lambda store: store.prune)

    def _applies(self, handler: HandlerDefinition) -> bool:
        return self._rule(handler.message_type) is not None

    def _rule(self, described: MessageType) -> IdempotencyRule | None:
        if described.kind is not MessageKind.COMMAND:
            return None
        rule = idempotency_rule(described.cls)
        return IdempotencyRule() if rule is None and self._options.all_commands else rule

    def _stage(self, handler: HandlerDefinition) -> Iterable[AnyBehavior]:
        described, services = handler.message_type, self._services
        rule = self._rule(described)
        if rule is None or services is None or self._units is None:
            return []
        from catga_core.features.idempotency.behavior import IdempotencyBehavior, IdempotencySettings
        from catga_core.features.idempotency.results import ResultCodec

        options = self._options
        storage = services.get(Storage) if self._units.applies(handler) else None
        together = storage is not None and services.same_storage(IdempotencyStore, Storage) is True
        behavior = IdempotencyBehavior(
            described,
            rule,
            services.get(IdempotencyStore),
            ResultCodec(described, services.get(Serializer)),
            IdempotencySettings(options.ttl_seconds, options.lease_seconds, options.wait_for_result),
            services.get(Clock),
            self._counters,
            storage,
            together=together,
        )
        return [behavior]
