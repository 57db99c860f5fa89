"""`Feature`: one capability added to a container, and what a container offers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.health import Health
from catga_core.interfaces.service_type import ServiceType
from catga_core.mediator import DurableMessages, EventOutbox, FailureSink
from catga_core.pipeline.behavior import AnyBehavior

F = TypeVar("F", bound="Feature")
S = TypeVar("S")

StageFactory: TypeAlias = Callable[[HandlerDefinition], Iterable[AnyBehavior]]
"""Returns the behaviors that a feature puts around one handler; each has its `stage`."""

Default: TypeAlias = Callable[[], tuple[Callable[..., Any], Mapping[str, Any]]]
"""Returns what creates a service, and the services that it is called with, by parameter name."""


class Problem(msgspec.Struct, frozen=True):
    """One mistake in a composition.

    Args:
        text: What is wrong, what was received, what was expected, and how to fix it.
    """

    text: str


class Services(Protocol):
    """The services of a container, as they are now: an override is seen by the next call."""

    def get(self, service: ServiceType[S], /) -> S:
        """Return a service.

        Raises:
            ConfigurationError: When nothing provides it.
        """
        ...

    def same_storage(self, first: Any, second: Any, /) -> bool | None:
        """Tell whether one storage keeps two ports; `None` where a store was not registered by `add_stores`."""
        ...


class Graph(Protocol):
    """A composition that is about to start, as a feature checks it."""

    @property
    def handlers(self) -> Sequence[HandlerDefinition]:
        """Every registered handler."""
        ...

    @property
    def roles(self) -> frozenset[str]:
        """What this process does with the composition: `serve`, `work`, `admin`."""
        ...

    def same_storage(self, first: Any, second: Any, /) -> bool | None:
        """Tell whether one storage keeps two ports; `None` where a store was not registered by `add_stores`."""
        ...

    def storage_of(self, port: Any, /) -> str:
        """Return the name of the storage that keeps a port, for a problem's text."""
        ...

    def is_default(self, port: Any, /) -> bool:
        """Tell whether a port is kept in memory because nothing else was registered for it."""
        ...

    def is_provided(self, service: Any, /) -> bool:
        """Tell whether something provides a service."""
        ...

    def has_feature(self, name: str, /) -> bool:
        """Tell whether a feature of a name was added."""
        ...


class Builder(Protocol):
    """What a feature adds to a container. It may be called again for the same container: contributions are replaced."""

    @property
    def services(self) -> Services:
        """The container's services, for what runs later."""
        ...

    def use(self, feature: type[F], /) -> F:
        """Return another feature of the container; one that is not there yet is added with its defaults."""
        ...

    def add_stage(self, factory: StageFactory, /) -> None:
        """Add behaviors to pipelines.

        Args:
            factory: Called once for each handler when its pipeline is compiled.
        """
        ...

    def add_service(
        self, service: Any, make: Callable[..., Any], needs: Mapping[str, Any] | None = None, *, name: str
    ) -> None:
        """Register a singleton of the feature; a later registration by the application replaces it for good.

        Args:
            service: The type it is asked for by.
            make: Called with what it needs by name.
            needs: The services it needs, by parameter name.
            name: Its provider's name.
        """
        ...

    def add_worker(
        self,
        service: Any,
        make: Callable[..., Any],
        needs: Mapping[str, Any] | None = None,
        *,
        name: str,
        role: Literal["serve", "work", "admin"] | None = "work",
    ) -> None:
        """Register a hosted service that works beside the handlers.

        Args:
            service: The type it is asked for by; it has `start()` and `stop()`, and may have `health()`.
            make: Called with what it needs by name.
            needs: The services it needs, by parameter name; they start before it and stop after it.
            name: Its provider's name, which is its name in `health()` too.
            role: The role of the processes that run it, `None` for every process.
        """
        ...

    def add_default(self, service: Any, default: Default, /) -> None:
        """Provide a service where nothing is registered for it, only for those who ask for it.

        Args:
            service: The type it is asked for by.
            default: Called when it is first asked for, so that what it imports is not imported before.
        """
        ...

    def offer(self, name: str, service: str, /) -> None:
        """Give a service a provider name in the container.

        Args:
            name: The name, such as `locks`.
            service: The type as `module:name`, imported when it is first asked for; it is created by default.
        """
        ...

    def set_outbox(self, make: Callable[[], EventOutbox], /) -> None:
        """Store events that are published in a unit of work.

        Raises:
            ConfigurationError: When another feature does so.
        """
        ...

    def set_durable(self, make: Callable[[], DurableMessages], /) -> None:
        """Keep durable events and enqueued commands in queues.

        Raises:
            ConfigurationError: When another feature does so.
        """
        ...

    def set_failure_sink(self, make: Callable[[], FailureSink], /) -> None:
        """Keep events that handlers failed for.

        Raises:
            ConfigurationError: When another feature does so.
        """
        ...

    def add_consumer(
        self,
        key: str,
        name: str,
        handler: Callable[..., Any],
        call: Callable[..., Any],
        needs: Mapping[str, Any],
        /,
    ) -> None:
        """Register a handler that the feature calls itself, such as for events of the log.

        The feature's worker calls it by `Dispatcher.consumer_endpoint(key, message_type)`, through behaviors, with scoped
        services and the context that it gives.

        Args:
            key: What the endpoint is found by, such as `saga:shipping`.
            name: The name in errors.
            handler: The application's function or method, for errors.
            call: Calls it: `(message, **services)`.
            needs: The services it takes, by parameter name.
        """
        ...

    def need(self, *services: Any) -> None:
        """Declare services that the feature's stages use, so that they are checked and created at start."""
        ...

    def on_handler(self, notice: Callable[[HandlerDefinition], None], /) -> None:
        """Have a function called with every handler, those registered already and those still to come."""
        ...


class Feature(Protocol):
    """One capability of a container: its services, workers, stages, checks and health.

    Add it with `container.add_feature(feature)`, before the container runs. A feature added later under the same name
    replaces the earlier one.
    """

    @property
    def name(self) -> str:
        """The feature's name, unique in a container."""
        ...

    def register(self, builder: Builder, /) -> None:
        """Contribute services, workers and pipeline stages."""
        ...

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Return every mistake in the composition that concerns this feature."""
        ...

    def health(self) -> Mapping[str, Health]:
        """Return health entries of the feature itself, by name; its workers report their own."""
        ...


class FeatureHost(Protocol):
    """A container that features are added to."""

    def add_feature(self, feature: Feature, /) -> None:
        """Add a feature.

        Raises:
            ConfigurationError: When it is not a feature, or the container runs already.
        """
        ...
