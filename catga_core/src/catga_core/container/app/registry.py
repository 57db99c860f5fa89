"""The services of a container: how each is made, under which name its provider is found, and which are hosted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from dependency_injector.containers import DynamicContainer

from catga_core.clock import Clock, SystemClock
from catga_core.container.app.assembly import Assembly
from catga_core.container.app.options import CatgaOptions
from catga_core.container.app.replacing import replaced_registration, replacement
from catga_core.container.app.roles import Role
from catga_core.container.app.wiring_checks import not_wired
from catga_core.container.di.graph import check_graph
from catga_core.container.di.naming import name_for, service_called
from catga_core.container.di.overrides import Override
from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind
from catga_core.container.di.resolver import Resolver
from catga_core.container.di.sources import register_source
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import caller_locals, caller_place, shown
from catga_core.interfaces.port import declared_ports, port_of
from catga_core.mediator import CatgaMediator, Dispatcher
from catga_core.messages.catalog import MessageCatalog
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serialization import msgpack_serializer
from catga_core.messages.serializer import Serializer


class Registry:
    """Takes services in, and gives each a provider in the container.

    Args:
        container: Gets the providers.
        registrations: By service; the resolver's own, filled here.
        resolver: Makes the services.
        assembly: The handlers, behaviors and validators.
        reserved: Names that no provider may have.
        fixed: Tells whether nothing can be added now.
    """

    __slots__ = ("_assembly", "_container", "_fixed", "_registrations", "_reserved", "_resolver", "hosted")

    def __init__(
        self,
        container: DynamicContainer,
        registrations: dict[Any, Registration],
        resolver: Resolver,
        assembly: Assembly,
        reserved: Collection[str],
        fixed: Callable[[], bool],
    ) -> None:
        self._container = container
        self._registrations = registrations
        self._resolver = resolver
        self._assembly = assembly
        self._reserved = reserved
        self._fixed = fixed
        self.hosted: dict[Any, Role | None] = {}

    def add_own(self, options: CatgaOptions, mediator: CatgaMediator, dispatcher: Dispatcher) -> None:
        """Take in what every container has.

        Args:
            options: The application's.
            mediator: The container's.
            dispatcher: The container's.
        """
        self.put(register_source(CatgaOptions, options, Lifetime.SINGLETON, {}, instance=True), "options")
        self.put(register_source(CatgaMediator, mediator, Lifetime.SINGLETON, {}, instance=True), "mediator")
        self.put(register_source(Dispatcher, dispatcher, Lifetime.SINGLETON, {}, instance=True), "dispatcher")
        self.put(self._message_registry(), "message_registry")
        self.put(register_source(Clock, SystemClock, Lifetime.SINGLETON, {}))
        self.put(register_source(Serializer, msgpack_serializer, Lifetime.SINGLETON, {}))
        # Provided before anything is registered for them, so that a test can override them by name. A port whose module is
        # imported later gets its provider when something is registered for it.
        for port in declared_ports():
            if port.type not in self._registrations:
                self.provide(port.name, port.type)

    def _message_registry(self) -> Registration:
        def make(catalog: MessageCatalog | None = None) -> MessageRegistry:
            registry = MessageRegistry(catalog)
            registry.prefer(self._assembly.handled_events)
            return registry

        parameters = (Parameter("catalog", MessageCatalog, optional=True),)
        return Registration(MessageRegistry, Lifetime.SINGLETON, SourceKind.FACTORY, make, parameters)

    def add(
        self,
        service: Any,
        implementation: Any,
        lifetime: Lifetime,
        name: str | None,
        *,
        instance: bool = False,
        after: tuple[Any, ...] = (),
    ) -> None:
        """Take in a service as an application gives it.

        Raises:
            ConfigurationError: When it is the container's own, cannot be made so, its name is taken, or the container
                runs already.
        """
        self.expect_stopped("services")
        if service in {CatgaMediator, CatgaOptions, Dispatcher}:
            msg = f"{shown(service)} is registered by the container itself. Override it in a test, or create another container."
            raise ConfigurationError(msg)
        made = register_source(service, implementation, lifetime, caller_locals(), instance=instance)
        if made.is_ours:
            made = msgspec.structs.replace(made, registered_at=caller_place())
        self.put(msgspec.structs.replace(made, after=after) if after else made, name)

    def register(self, registration: Registration) -> None:
        """Take in a registration that is described already.

        Raises:
            ConfigurationError: When the container runs already.
        """
        self.expect_stopped("services")
        self.put(registration)

    def host(self, service: Any, role: Role | None) -> None:
        """Have a service started and stopped with the container.

        Args:
            service: The type it is asked for by.
            role: Of the processes that start it; `None` for all.
        """
        self.hosted[service] = role

    def expect_stopped(self, what: str) -> None:
        """Refuse what can only be added before the container runs.

        Args:
            what: For the error.

        Raises:
            ConfigurationError: When it runs already.
        """
        if self._fixed():
            msg = (
                f"The container is running; {what} cannot be added now. Add them before running(), "
                "or replace a service with override()."
            )
            raise ConfigurationError(msg)

    def problems(self, *more: Registration) -> list[str]:
        """Return every mistake in what the services, handlers and behaviors need of each other.

        Args:
            more: What is looked at beside them.
        """
        resolver = self._resolver
        roots = [resolver.effective(service) or made for service, made in self._registrations.items()]
        return check_graph(resolver, [*roots, *self._assembly.roots(), *more])

    def wiring_problems(self) -> list[str]:
        """Return a text for each `Provide[...]` of what is registered that nothing injects."""
        resolver = self._resolver
        registered = [*self._registrations.values(), *self._assembly.declared()]
        return not_wired(registered, lambda service: resolver.effective(service) is not None)

    def replace(self, service: Any, implementation: Any, *, instance: bool) -> Override:
        """Put something else in a service's place, as `CatgaContainer.override` says.

        Raises:
            ConfigurationError: When it cannot stand in, or what it needs does not fit; then nothing has changed.
        """
        key = service_called(service, self._container.providers) if isinstance(service, str) else service
        replaced = replaced_registration(key, self._resolver.registered_for(key), self._assembly)
        handled = self._assembly.handled_by(key)
        made = replacement(replaced, implementation, handled, caller_locals(), instance=instance)
        known = set(self.problems())
        layer = self._resolver.overrides.push(made)
        problems = [problem for problem in self.problems(made) if problem not in known]
        if problems:
            layer.restore()
            raise ConfigurationError(problems)
        return layer

    def drop(self, registration: Registration) -> bool:
        """Take back a registration, unless another has replaced it; return whether it was taken back."""
        if self._registrations.get(registration.service) is not registration:
            return False
        del self._registrations[registration.service]
        if port_of(registration.service) is None:
            for name, provider in list(self._container.providers.items()):
                if isinstance(provider, ServiceProvider) and provider.is_for(registration.service):
                    delattr(self._container, name)
        self._resolver.registered()
        self._assembly.forget()
        return True

    def put(self, registration: Registration, name: str | None = None) -> None:
        """Take in a registration, and give it a provider.

        Args:
            registration: How the service is made.
            name: The provider's name, `None` for the service's own.

        Raises:
            ConfigurationError: When the name is taken.
        """
        service = registration.service
        known = service in self._registrations
        self._registrations[service] = registration
        declared = port_of(service)
        for part in () if declared is None else declared.parts:
            # The last registration wins, and this one provides the part as well.
            self._registrations.pop(part, None)
        self._resolver.registered()
        self._assembly.forget()
        if known and name is None:
            return
        chosen = name_for(service, name, self._container.providers, self._reserved)
        if chosen is not None:
            self.provide(chosen, service)

    def offer(self, name: str, service: Any) -> None:
        """Give a service a provider, unless the name has one."""
        if name not in self._container.providers:
            self.provide(name, service)

    def provide(self, name: str, service: Any) -> None:
        """Give a service a provider; one given as `module:name` is imported when it is first asked for."""
        self._container.set_provider(name, ServiceProvider(service, self._resolver, self._replace))

    def _replace(self, service: Any, implementation: Any) -> Override:
        return self.replace(service, implementation, instance=False)
