"""The feature `units_of_work`: a transaction around handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from catga_core.feature import Builder, Graph, Problem, Services
from catga_core.features.units_of_work.marks import has_own_units_of_work
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.health import Health
from catga_core.interfaces.storage import Storage
from catga_core.messages import MessageKind
from catga_core.pipeline.behavior import AnyBehavior


class UnitOfWorkFeature:
    """Runs handlers in a unit of work of the container's storage, for the features that ask for it.

    A handler with `@own_units_of_work` has none.
    """

    name = "units_of_work"

    def __init__(self) -> None:
        self._kinds: set[MessageKind] = set()
        self._claims: list[Callable[[HandlerDefinition], bool]] = []
        self._services: Services | None = None

    def require(self, *kinds: MessageKind) -> None:
        """Have the handlers of some kinds of messages run in a unit of work."""
        self._kinds.update(kinds)

    def claim(self, claimed: Callable[[HandlerDefinition], bool]) -> None:
        """Leave some handlers' units of work to another stage, which opens them itself."""
        self._claims.append(claimed)

    def applies(self, handler: HandlerDefinition) -> bool:
        """Tell whether a handler runs in a unit of work; those of consumers have one for a whole batch."""
        if handler.consumer:
            return False
        return handler.message_type.kind in self._kinds and not has_own_units_of_work(handler.target)

    def register(self, builder: Builder, /) -> None:
        """Add the stage."""
        self._kinds.clear()
        self._claims.clear()
        self._services = builder.services
        builder.add_stage(self._stage)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check where handlers are marked with `@own_units_of_work`."""
        for handler in graph.handlers:
            described = handler.message_type
            if has_own_units_of_work(handler.target) and described.kind is not MessageKind.COMMAND:
                yield Problem(
                    f"{handler.name} has @own_units_of_work, which is for handlers of commands, but handles the "
                    f"{described.kind} {described.cls.__name__}. Remove it."
                )

    def health(self) -> Mapping[str, Health]:
        """Report nothing: a unit of work is the storage's."""
        return {}

    def _stage(self, handler: HandlerDefinition) -> Iterable[AnyBehavior]:
        if self._services is None or not self.applies(handler) or any(each(handler) for each in self._claims):
            return []
        from catga_core.features.units_of_work.behavior import UnitOfWorkBehavior

        return [UnitOfWorkBehavior(self._services.get(Storage))]
