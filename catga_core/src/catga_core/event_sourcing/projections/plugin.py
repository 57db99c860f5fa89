"""`add_projection`: has a projection follow the log."""

from __future__ import annotations

from typing import Any, Unpack

from catga_core.container import CatgaContainer
from catga_core.container.app.stores import check_one_storage
from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import (
    FollowChoices,
    FollowerPorts,
    FollowOptions,
    check_follow_options,
    provider_of_follower,
)
from catga_core.event_sourcing.hosting import Hosted, factory_with, hosted_class, problems_of_name
from catga_core.event_sourcing.projections.catch_up import CatchUpWorker
from catga_core.event_sourcing.projections.definition import (
    ProjectionDefinition,
    ProjectionMode,
    problems_of,
)
from catga_core.event_sourcing.projections.inline import InlineAppends, InlineWorker
from catga_core.event_sourcing.projections.live import LiveWorker
from catga_core.event_sourcing.projections.projection import Projection
from catga_core.event_sourcing.projections.service import Projections
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.handlers.hints import shown
from catga_core.interfaces.event_store import EventStore


def add_projection(
    container: CatgaContainer,
    projection: type[Projection],
    *,
    mode: ProjectionMode = ProjectionMode.CATCH_UP,
    stream: str = "*",
    transactional: bool = True,
    **options: Unpack[FollowChoices],
) -> None:
    """Have a projection handle the events of the log; the other options are those of `FollowOptions`.

    Parameters:
        container: the container; the projection's class is registered as a singleton where it is not yet.
        projection: a class derived from `Projection`.
        mode: when it handles an event: `CATCH_UP`, `INLINE`, `LIVE` or `IN_MEMORY`.
        stream: a glob on the stream's name, such as `order-*`.
        transactional: whether effects and checkpoint are written in one unit of work of the container's storage, so that
            effects in that storage happen once. `False` for effects elsewhere: each event is handled at
            least once, outside of any unit of work, and the checkpoint is saved after it.

    Raises:
        ConfigurationError: for what cannot work, or when the container runs already.
    """
    cls: object = projection
    if not (isinstance(cls, type) and issubclass(cls, Projection)) or cls is Projection:
        msg = f"{shown(cls)} is no projection: give a class derived from Projection"
        raise ConfigurationError(msg)
    definition = ProjectionDefinition(
        cls=projection,
        mode=mode,
        stream=stream,
        transactional=transactional,
        options=FollowOptions(**options),
    )
    named = f"the projection {definition.name!r}"
    problems = problems_of(definition, named) + check_follow_options(definition.options, named, stream)
    provider = provider_of_follower(definition.name, "projection")
    hosted = Hosted("projection", definition.name, projection)
    problems += problems_of_name(hosted, provider, container.providers)
    if problems:
        raise ConfigurationError(problems)
    service: Any = projection
    if container.registered(service) is None:
        container.add_singleton(service)
    _host(container, definition, provider, hosted)


_WORKERS: dict[ProjectionMode, Any] = {
    ProjectionMode.CATCH_UP: CatchUpWorker,
    ProjectionMode.LIVE: LiveWorker,
    ProjectionMode.IN_MEMORY: LiveWorker,
}


def _host(container: CatgaContainer, definition: ProjectionDefinition, provider: str, hosted: Hosted) -> None:
    cls: Any = definition.cls

    def get() -> Projection:
        return container.get(cls)  # type: ignore[no-any-return]  # an object of that class

    # The projection itself is named so that the container knows of it, and asked for again for each event.
    needs: dict[str, Any] = {"ports": FollowerPorts, "projections": Projections, "projection": cls}
    if definition.mode is ProjectionMode.INLINE:
        # Before the event store is used, it has to know that something is done with every append.
        needs |= {"appends": InlineAppends, "store": EventStore}
    worker_class = _WORKERS.get(definition.mode, InlineWorker)

    def make(
        ports: FollowerPorts,
        projections: Projections,
        projection: Projection,
        appends: InlineAppends | None = None,
        store: EventStore | None = None,
    ) -> ProjectionWorker:
        del projection, store
        if definition.transactional and definition.mode in {ProjectionMode.CATCH_UP, ProjectionMode.INLINE}:
            check_one_storage(container, f"the projection {definition.name!r}")
        worker: ProjectionWorker
        if appends is not None:
            worker = InlineWorker(definition, ports, get, appends)
        else:
            worker = worker_class(definition, ports, get)
        projections.add(worker)
        return worker

    service = hosted_class(worker_class, provider, hosted)
    container.add_hosted(service, factory_with(needs, make), name=provider)
