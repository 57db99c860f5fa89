"""`add_projection`: register a projection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Unpack

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import (
    ConsumerChoices,
    ConsumerDelivery,
    ConsumerPorts,
    check_consumer_options,
    chosen_options,
    provider_of_consumer,
)
from catga_core.event_sourcing.hosting import Hosted, factory_with, hosted_class, problems_of_name
from catga_core.event_sourcing.projections.catch_up import CatchUpWorker
from catga_core.event_sourcing.projections.definition import (
    ProjectionDefinition,
    ProjectionMode,
    problems_of,
)
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.event_sourcing.projections.inline import InlineAppends, InlineWorker
from catga_core.event_sourcing.projections.live import LiveWorker
from catga_core.event_sourcing.projections.projection import Projection, call_of
from catga_core.event_sourcing.projections.service import Projections
from catga_core.event_sourcing.projections.targets import problems_of_target
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.handlers.hints import caller_locals, shown, with_place
from catga_core.host import Host
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.event_store import EventStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher
from catga_core.messages.encodable import make_all_readable


def add_projection(
    container: Host,
    projection: type[Projection],
    *,
    mode: ProjectionMode = ProjectionMode.CATCH_UP,
    stream: str = "*",
    transactional: bool = True,
    **options: Unpack[ConsumerChoices],
) -> None:
    """Register a projection; the other options are those of `ConsumerOptions`.

    Args:
        container: The container. A projection class that is not registered becomes a singleton, or one per event where its
            constructor takes anything scoped.
        projection: A class derived from `Projection`. Behaviors and validators apply to its methods as to any handler.
        mode: When it handles an event: `CATCH_UP`, `INLINE`, `LIVE` or `IN_MEMORY`.
        stream: A glob on the stream's name, such as `order-*`.
        transactional: Whether effects and checkpoint are written in one unit of work of the container's storage, so that
            effects in that storage happen once. `False` for effects elsewhere: each event is handled at
            least once, outside of any unit of work, and the checkpoint is saved after it.

    Raises:
        ConfigurationError: An argument is not possible, or the container runs already.
    """
    cls: object = projection
    if not (isinstance(cls, type) and issubclass(cls, Projection)) or cls is Projection:
        named = shown(cls) if cls is Projection else with_place(shown(cls), cls)
        msg = f"{named} is not a projection. Pass a class derived from Projection."
        raise ConfigurationError(msg)
    definition = ProjectionDefinition(
        cls=projection,
        mode=mode,
        stream=stream,
        transactional=transactional,
        options=chosen_options(add_projection, options),
    )
    named = with_place(f"the projection {definition.name!r}", projection)
    problems = problems_of(definition, named) + check_consumer_options(definition.options, named, stream)
    provider = provider_of_consumer(definition.name, "projection")
    hosted = Hosted("projection", definition.name, projection)
    problems += problems_of_name(hosted, provider, container.providers)
    problems += problems_of_target(hosted, container.providers)
    if problems:
        raise ConfigurationError(problems)
    make_all_readable(projection.projection_methods.declared, caller_locals())
    key = f"projection:{definition.name}"
    container.add_class_consumer(key, definition.name, projection, call_of)
    _host(container, definition, key, provider, hosted)


_WORKERS: dict[ProjectionMode, Any] = {
    ProjectionMode.CATCH_UP: CatchUpWorker,
    ProjectionMode.LIVE: LiveWorker,
    ProjectionMode.IN_MEMORY: LiveWorker,
}


def _host(container: Host, definition: ProjectionDefinition, key: str, provider: str, hosted: Hosted) -> None:
    cls: Any = definition.cls
    needs: dict[str, Any] = {"ports": ConsumerPorts, "projections": Projections, "dispatcher": Dispatcher}
    if definition.mode is ProjectionMode.INLINE:
        # The event store needs its append hooks before it is first used.
        needs |= {"appends": InlineAppends, "store": EventStore}
    worker_class = _WORKERS.get(definition.mode, InlineWorker)

    async def use(call: Callable[[Projection], Awaitable[None]]) -> None:
        await container.use_in_scope(cls, call)

    def make(
        ports: ConsumerPorts,
        projections: Projections,
        dispatcher: Dispatcher,
        appends: InlineAppends | None = None,
        store: EventStore | None = None,
    ) -> ProjectionWorker:
        del store
        if definition.mode in {ProjectionMode.CATCH_UP, ProjectionMode.INLINE}:
            # A switch to another generation writes both.
            written = (CheckpointStore, NamedValueStore)
            container.check_one_storage(
                f"the projection {definition.name!r}",
                (Storage, *written) if definition.transactional else written,
            )
        handling = ProjectionHandling(ConsumerDelivery(dispatcher, key).deliver, use)
        worker: ProjectionWorker
        if appends is not None:
            worker = InlineWorker(definition, ports, handling, appends)
        else:
            worker = worker_class(definition, ports, handling)
        projections.add(worker)
        return worker

    service = hosted_class(worker_class, provider, hosted)
    container.add_hosted(service, factory_with(needs, make), name=provider, after=(cls,), role="work")
