"""What the features of a container have contributed to its pipelines and services."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from catga_core.container.app.roles import Role
from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind
from catga_core.feature import Default, StageFactory
from catga_core.handlers import HandlerDefinition
from catga_core.mediator import DurableMessages, EventOutbox, FailureSink
from catga_core.pipeline.behavior import AnyBehavior


class Contributions:
    """Filled by features, read where pipelines are compiled, services created and workers started."""

    __slots__ = ("defaults", "durable", "failure_sink", "needs", "notices", "outbox", "stages", "workers")

    def __init__(self) -> None:
        self.stages: list[StageFactory] = []
        self.notices: list[Callable[[HandlerDefinition], None]] = []
        self.outbox: Callable[[], EventOutbox] | None = None
        self.durable: Callable[[], DurableMessages] | None = None
        self.failure_sink: Callable[[], FailureSink] | None = None
        # Dictionaries for sets that keep their order.
        self.needs: dict[Any, None] = {}
        self.workers: dict[Any, Role | None] = {}
        self.defaults: dict[Any, Default] = {}

    def clear(self) -> None:
        """Forget everything, before features contribute again."""
        self.outbox = self.durable = self.failure_sink = None
        for several in (self.stages, self.notices, self.needs, self.workers, self.defaults):
            several.clear()

    def behaviors(self, handler: HandlerDefinition) -> Iterator[AnyBehavior]:
        """Yield the behaviors around a handler."""
        for make in self.stages:
            yield from make(handler)

    def root(self) -> Registration | None:
        """Return a registration that needs what the stages need, `None` where that is nothing."""
        if not self.needs:
            return None
        parameters = tuple(
            Parameter(f"service_{number}", service, optional=False)
            for number, service in enumerate(self.needs)
        )
        return Registration(Contributions, Lifetime.TRANSIENT, SourceKind.FACTORY, Contributions, parameters)

    def default_of(self, service: Any) -> Registration | None:
        """Return how a service is created where nothing is registered for it, `None` where no feature provides it."""
        default = self.defaults.get(service)
        if default is None:
            return None
        make, needs = default()
        return singleton_of(service, make, needs)


def singleton_of(service: Any, make: Callable[..., Any], needs: Mapping[str, Any]) -> Registration:
    """Return the registration of a singleton.

    Args:
        service: The type it is asked for by.
        make: Called with what it needs by name.
        needs: The services it needs, by parameter name.
    """
    parameters = tuple(
        Parameter(name, needed, optional=False, keyword=True) for name, needed in needs.items()
    )
    return Registration(service, Lifetime.SINGLETON, SourceKind.FACTORY, make, parameters)
