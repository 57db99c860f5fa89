"""The features of a container, and what they have contributed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from catga_core.container.app.contributions import Contributions, singleton_of
from catga_core.container.app.roles import Role
from catga_core.container.app.stores import is_in_memory, same_storage, told_storage
from catga_core.container.di.registration import Registration
from catga_core.container.di.resolver import Resolver
from catga_core.errors import ConfigurationError
from catga_core.feature import Default, Feature, StageFactory
from catga_core.handlers import HandlerDefinition
from catga_core.handlers.hints import class_of, shown
from catga_core.interfaces.health import Health
from catga_core.interfaces.port import port_of
from catga_core.interfaces.service_type import ServiceType
from catga_core.mediator import DurableMessages, EventOutbox, FailureSink

F = TypeVar("F", bound=Feature)
S = TypeVar("S")


class FeatureSet:
    """Registers features in a container; a feature registered again replaces all that it contributed before.

    Args:
        contributions: Takes what features contribute.
        resolver: Creates the container's services.
        handlers: Returns every registered handler.
        put: Registers a service under a provider name.
        drop: Takes back a registration; returns `False` where another has replaced it.
        add_consumer: Registers a handler that a feature calls itself.
        offer: Gives a service that is created by default a provider name.
    """

    def __init__(
        self,
        contributions: Contributions,
        resolver: Resolver,
        handlers: Callable[[], Sequence[HandlerDefinition]],
        put: Callable[[Registration, str], None],
        drop: Callable[[Registration], bool],
        offer: Callable[[str, Any], None],
        add_consumer: Callable[[str, str, Any, Any, Mapping[str, Any]], None],
    ) -> None:
        self._resolver = resolver
        self._handlers = handlers
        self._put = put
        self._drop = drop
        self._offer = offer
        self._add_consumer = add_consumer
        self._contributions = contributions
        self._features: dict[str, Feature] = {}
        self._registered: set[str] = set()
        self._registrations: list[Registration] = []
        # Registered by the application after a feature did, so that features registered again leave them alone.
        self._replaced: set[Any] = set()

    def add(self, feature: Feature) -> None:
        """Add a feature, in place of an earlier one of its name.

        Raises:
            ConfigurationError: When it is not a feature.
        """
        _check_feature(feature)
        before = dict(self._features)
        self._features[feature.name] = feature
        try:
            self._register_all(again=feature.name in before)
        except BaseException:
            self._features = before
            self._register_all(again=True)
            raise

    def has(self, name: str) -> bool:
        """Return whether a feature of a name was added."""
        return name in self._features

    def handler_added(self, handler: HandlerDefinition) -> None:
        """Tell features of a new handler."""
        for notice in tuple(self._contributions.notices):
            notice(handler)

    def problems(self, roles: frozenset[str]) -> list[str]:
        """Return what features find wrong with the composition."""
        graph = _Graph(self._resolver, self._handlers(), roles, self.has)
        return [problem.text for each in self._features.values() for problem in each.validate(graph)]

    def health(self) -> dict[str, Health]:
        """Return the health entries of the features themselves."""
        found: dict[str, Health] = {}
        for feature in self._features.values():
            found.update(feature.health())
        return found

    # --- what features call ---

    def use(self, feature: type[F]) -> F:
        """Return another feature; see `Builder.use`."""
        found = next((each for each in self._features.values() if isinstance(each, feature)), None)
        if found is None:
            found = feature()
            other = self._features.get(found.name)
            if other is not None:
                msg = (
                    f"The feature {found.name!r} is a {class_of(other).__name__}, but another feature uses {shown(feature)}. "
                    f"Derive {class_of(other).__name__} from {shown(feature)}, or give it another name."
                )
                raise ConfigurationError(msg)
            self._features[found.name] = found
        self._register(found)
        return found

    def add_stage(self, factory: StageFactory) -> None:
        """See `Builder.add_stage`."""
        self._contributions.stages.append(factory)

    def add_service(
        self, service: Any, make: Callable[..., Any], needs: Mapping[str, Any] | None = None, *, name: str
    ) -> None:
        """See `Builder.add_service`."""
        if service in self._replaced:
            return
        made = singleton_of(service, make, needs or {})
        self._put(made, name)
        self._registrations.append(made)

    def add_worker(
        self,
        service: Any,
        make: Callable[..., Any],
        needs: Mapping[str, Any] | None = None,
        *,
        name: str,
        role: Role | None = "work",
    ) -> None:
        """See `Builder.add_worker`."""
        self.add_service(service, make, needs, name=name)
        self._contributions.workers[service] = role

    def add_default(self, service: Any, default: Default) -> None:
        """See `Builder.add_default`."""
        self._contributions.defaults[service] = default
        self._resolver.registered()
        declared = port_of(service)
        if declared is not None:
            # A plugin's port may have been declared after the container was created.
            self._offer(declared.name, service)

    def offer(self, name: str, service: str) -> None:
        """See `Builder.offer`."""
        self._offer(name, service)

    def set_outbox(self, make: Callable[[], EventOutbox]) -> None:
        """See `Builder.set_outbox`."""
        if self._contributions.outbox is not None:
            msg = "Two features set the container's outbox. Add only one of them."
            raise ConfigurationError(msg)
        self._contributions.outbox = make

    def set_durable(self, make: Callable[[], DurableMessages]) -> None:
        """See `Builder.set_durable`."""
        if self._contributions.durable is not None:
            msg = "Two features keep messages in queues. Add only one of them."
            raise ConfigurationError(msg)
        self._contributions.durable = make

    def set_failure_sink(self, make: Callable[[], FailureSink]) -> None:
        """See `Builder.set_failure_sink`."""
        if self._contributions.failure_sink is not None:
            msg = "Two features keep the events that handlers failed for. Add only one of them."
            raise ConfigurationError(msg)
        self._contributions.failure_sink = make

    def add_consumer(
        self,
        key: str,
        name: str,
        handler: Callable[..., Any],
        call: Callable[..., Any],
        needs: Mapping[str, Any],
    ) -> None:
        """See `Builder.add_consumer`."""
        self._add_consumer(key, name, handler, call, needs)

    def need(self, *services: Any) -> None:
        """See `Builder.need`."""
        self._contributions.needs.update(dict.fromkeys(services))

    def on_handler(self, notice: Callable[[HandlerDefinition], None]) -> None:
        """See `Builder.on_handler`."""
        self._contributions.notices.append(notice)
        for handler in self._handlers():
            notice(handler)

    @property
    def services(self) -> _Services:
        """See `Builder.services`."""
        return _Services(self._resolver)

    # --- inside ---

    def _register_all(self, *, again: bool) -> None:
        if again:
            self._reset()
        for each in tuple(self._features.values()):
            self._register(each)

    def _register(self, feature: Feature) -> None:
        if feature.name not in self._registered:
            # First, so that features that use each other end.
            self._registered.add(feature.name)
            feature.register(self)

    def _reset(self) -> None:
        # Only the last one of each service: a feature may have registered it several times.
        latest = {registration.service: registration for registration in self._registrations}
        self._replaced.update(service for service, made in latest.items() if not self._drop(made))
        self._registrations.clear()
        self._registered.clear()
        self._contributions.clear()


class _Services:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def get(self, service: ServiceType[S], /) -> S:
        return self._resolver.resolve(service)  # type: ignore[no-any-return]

    def same_storage(self, first: Any, second: Any, /) -> bool | None:
        return same_storage(self._resolver, first, second)


class _Graph:
    def __init__(
        self,
        resolver: Resolver,
        handlers: Sequence[HandlerDefinition],
        roles: frozenset[str],
        has_feature: Callable[[str], bool],
    ) -> None:
        self._resolver = resolver
        self._has_feature = has_feature
        self.roles: frozenset[str] = roles
        self.handlers: Sequence[HandlerDefinition] = handlers

    def same_storage(self, first: Any, second: Any, /) -> bool | None:
        return same_storage(self._resolver, first, second)

    def storage_of(self, port: Any, /) -> str:
        return told_storage(self._resolver, port)

    def is_default(self, port: Any, /) -> bool:
        return is_in_memory(self._resolver.effective(port))

    def is_provided(self, service: Any, /) -> bool:
        return self._resolver.effective(service) is not None

    def has_feature(self, name: str, /) -> bool:
        return self._has_feature(name)


def _check_feature(feature: object) -> None:
    if isinstance(feature, type):
        msg = f"add_feature({shown(feature)}) got a class. Pass an object of it: {shown(feature)}()."
        raise ConfigurationError(msg)
    missing = [
        name for name in ("register", "validate", "health") if not callable(getattr(feature, name, None))
    ]
    name: object = getattr(feature, "name", None)
    if not isinstance(name, str) or not name:
        missing.insert(0, "name")
    if missing:
        msg = (
            f"add_feature() got a {class_of(feature).__name__}, which has no {', '.join(missing)}. "
            "Implement catga_core.Feature."
        )
        raise ConfigurationError(msg)
