"""`CatgaContainer`: where an application is put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, get_origin

from dependency_injector.containers import DynamicContainer
from dependency_injector.providers import Provider

from catga_core.clock import Clock, SystemClock
from catga_core.container.application import CatgaApp
from catga_core.container.assembly import Assembly
from catga_core.container.entries import behavior_entry, handler_entry, validator_entry
from catga_core.container.graph import check_graph
from catga_core.container.lifecycle import Lifecycle
from catga_core.container.modules import Module, check_modules
from catga_core.container.naming import provider_name
from catga_core.container.overrides import Override, Overriding
from catga_core.container.provider import ServiceProvider
from catga_core.container.registration import Lifetime, Registration, SourceKind, register_source
from catga_core.container.resolver import Resolver
from catga_core.container.services import Implementation, ServiceType
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import caller_locals, class_of, shown, with_place
from catga_core.interfaces.context import MessageContext
from catga_core.interfaces.health import Health
from catga_core.interfaces.serializer import Serializer
from catga_core.interfaces.transport import Transport
from catga_core.interfaces.validation import Validator
from catga_core.mediator import CatgaMediator
from catga_core.messages import Message, MessageKind, MessageType
from catga_core.options import CatgaOptions, check_options
from catga_core.pipeline.behavior import AnyBehavior
from catga_core.serialization import msgpack_serializer

S = TypeVar("S")

PORTS: Mapping[Any, str] = {
    CatgaMediator: "mediator",
    Transport: "transport",
    Serializer: "serializer",
    Clock: "clock",
    CatgaOptions: "options",
}


class CatgaContainer(DynamicContainer):
    """Holds everything an application is made of, checks that it fits, and runs it.

    It is a dependency-injector container: the ports are providers (`catga.mediator`, `catga.transport`,
    `catga.serializer`, `catga.clock`), every service is one under its snake_case name, and `wire`, `@inject` and
    `Provide["mediator"]` work. Make it with `add_catga()`.
    """

    _catga_ready = False

    def __init__(self, options: CatgaOptions | None = None) -> None:
        super().__init__()
        chosen = options or CatgaOptions()
        check_options(chosen)
        self._registrations: dict[Any, Registration] = {}
        self._resolver = Resolver(
            self._registrations,
            asks_for_context=frozenset({CatgaMediator, MessageContext}),
            quiet=frozenset({CatgaOptions, Clock, Serializer, Transport}),
        )
        self._assembly = Assembly(self._resolver)
        self._mediator = CatgaMediator(self._assembly)
        self._resolver.changed.append(self._mediator.forget_routes)
        self._modules: list[Module] = []
        self._hosted: list[Any] = []
        self._lifecycle = Lifecycle(
            self, self._mediator, self._assembly, self._resolver, self._registrations, self._hosted
        )
        self._put(register_source(CatgaOptions, chosen, Lifetime.SINGLETON, {}, instance=True))
        self._put(register_source(CatgaMediator, self._mediator, Lifetime.SINGLETON, {}, instance=True))
        self._put(register_source(Clock, SystemClock, Lifetime.SINGLETON, {}))
        self._put(register_source(Serializer, msgpack_serializer, Lifetime.SINGLETON, {}))
        # There before a transport is, so that a test can put one in by its name.
        self.set_provider("transport", ServiceProvider(Transport, self._resolver, self.override))
        self._catga_ready = True

    # --- filling it ---

    def add_singleton(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
        instance: bool = False,
    ) -> None:
        """Register a service of which the container makes one, when it starts.

        Parameters:
            service: the type it is asked for by.
            implementation: a class (its constructor's parameters are resolved by type), a factory (sync, async or with
                one `yield`, ended when the container stops), an object, or a dependency-injector provider; left out,
                the service itself. The last registration of a service wins.
            name: the provider's name, `None` for the class's in snake_case.
            instance: take the implementation as the object itself, even where it is callable.

        Raises:
            ConfigurationError: when it cannot be that service, or the container runs already.
        """
        self._add(service, implementation, Lifetime.SINGLETON, name, instance=instance)

    def add_scoped(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Register a service of which there is one for each message, closed when the message is done.

        Behaviors and handler of one message share it, no other message sees it. A factory with one `yield` is ended
        after the message and sees its exception; an object with `aclose()` or `close()` is closed.

        Parameters:
            service: the type it is asked for by.
            implementation: a class, a factory, or a provider; left out, the service itself.
            name: the provider's name, `None` for the class's in snake_case.

        Raises:
            ConfigurationError: when it cannot be that service, or the container runs already.
        """
        self._add(service, implementation, Lifetime.SCOPED, name)

    def add_transient(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Register a service that is made anew wherever it is needed.

        Parameters:
            service: the type it is asked for by.
            implementation: a class, a synchronous factory, or a provider; left out, the service itself.
            name: the provider's name, `None` for the class's in snake_case.

        Raises:
            ConfigurationError: when it cannot be that service, or the container runs already.
        """
        self._add(service, implementation, Lifetime.TRANSIENT, name)

    def add_handlers(self, *handlers: Callable[..., Any], lifetime: Lifetime | None = None) -> None:
        """Register handlers: classes with a `handle` method, or functions whose first parameter is the message.

        Parameters:
            handlers: for requests, events and stream queries alike.
            lifetime: for classes; `None` makes one object where all it holds are singletons, else one for each message.

        Raises:
            ConfigurationError: when a handler's message or result does not fit, or the container runs already.
        """
        self._expect_stopped("handlers")
        names = caller_locals()
        for target in handlers:
            entry = handler_entry(target, lifetime, names)
            described = entry.definition.message_type
            if described.kind is MessageKind.EVENT:
                several = self._assembly.events.setdefault(described.cls, [])
                if any(known.definition.target is target for known in several):
                    msg = f"{with_place(entry.definition.name, target)} is registered twice: take one away"
                    raise ConfigurationError(msg)
                several.append(entry)
            else:
                entries = (
                    self._assembly.streams
                    if described.kind is MessageKind.STREAM
                    else self._assembly.requests
                )
                known = entries.get(described.cls)
                if known is not None:
                    raise ConfigurationError(_two_handlers(described, known.definition.target, target))
                entries[described.cls] = entry
        self._assembly.forget()

    def add_behavior(
        self,
        behavior: type[AnyBehavior] | AnyBehavior,
        *,
        order: int | None = None,
        when: Callable[[MessageType], bool] | None = None,
        lifetime: Lifetime | None = None,
    ) -> None:
        """Put a behavior around the messages it is for.

        Parameters:
            behavior: a class derived from `Behavior`, or an object of one.
            order: lower is further outside; `None` takes the class's own `order`, else 0. Equal orders keep the order of
                registration. The built-in ones are at -300 (logging), -200 (timeout) and -100 (validation).
            when: asked once for each message type whether it is to be in its pipeline; `None` for always.
            lifetime: for classes; `None` makes one object where all it holds are singletons, else one for each message.

        Raises:
            ConfigurationError: when it is no behavior, or the container runs already.
        """
        self._expect_stopped("behaviors")
        self._assembly.behaviors.append(behavior_entry(behavior, order, when, lifetime, caller_locals()))
        self._assembly.forget()

    def add_validator(self, *validators: type[Validator[Any]] | Validator[Any]) -> None:
        """Have messages checked by a rule before they are handled.

        Parameters:
            validators: classes derived from `Validator[Message]`, or objects of such.

        Raises:
            ConfigurationError: when one does not say for which message it is, or the container runs already.
        """
        self._expect_stopped("validators")
        names = caller_locals()
        self._assembly.validators.extend(validator_entry(validator, names) for validator in validators)
        self._assembly.forget()

    def add_hosted(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Register a singleton with `start()` and `stop()` that runs as long as the container.

        Hosted services start in dependency order and stop in reverse. One that holds the mediator starts after
        everything else and stops first; any other outlives the messages that are in flight.

        Parameters:
            service: the type it is asked for by.
            implementation: as in `add_singleton`.
            name: the provider's name, `None` for the class's in snake_case.

        Raises:
            ConfigurationError: when it cannot be started and stopped, or the container runs already.
        """
        product: Any = implementation
        if implementation is None or (callable(implementation) and not isinstance(implementation, type)):
            # What a factory makes is only known by what it is registered as.
            product = service
        if not all(hasattr(product, each) for each in ("start", "stop")):
            named = product if isinstance(product, type) else class_of(product)
            msg = f"{shown(named)} cannot be hosted: give it async def start(self) and async def stop(self)"
            raise ConfigurationError(msg)
        self._add(service, implementation, Lifetime.SINGLETON, name)
        if service not in self._hosted:
            self._hosted.append(service)

    def add_module(self, module: type[Module] | Module) -> None:
        """Let a module register itself; its needs are checked when the container starts.

        Parameters:
            module: a class derived from `Module`, or an object of one.

        Raises:
            ConfigurationError: when it is no module, was added already, or registers something that does not fit.
        """
        self._expect_stopped("modules")
        if isinstance(module, type) and getattr(module, "__abstractmethods__", None):
            msg = f"{with_place(module.__name__, module)} does not say what it registers: write def register(self, catga)"
            raise ConfigurationError(msg)
        made: Any = module() if isinstance(module, type) else module
        cls = class_of(made)
        if not isinstance(made, Module):
            msg = f"{with_place(cls.__name__, cls)} is no module: derive it from Module"
            raise ConfigurationError(msg)
        if any(type(known) is cls for known in self._modules):
            msg = f"{with_place(cls.__name__, cls)} was added twice: take one away"
            raise ConfigurationError(msg)
        self._modules.append(made)
        made.register(self)

    # --- replacing parts of it ---

    # dependency-injector's own override takes a whole container; override_providers(**other.providers) says the same.
    # What stands in is Any: a test's double need not be derived from what it doubles.
    def override(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, service: Any, implementation: Any = None, *, instance: bool = False
    ) -> Override:
        """Replace a service while a `with` block lasts, on a container that runs or one that does not yet.

        The next message sees it, also through singletons that were built before: those are built anew for as long as
        the override lasts, and the first ones are there again after it. Overrides nest and may be left in any order.

        Parameters:
            service: a registered type, a handler class, or a provider's name.
            implementation: an object, a class (made by the container) or a dependency-injector provider.
            instance: take the implementation as the object itself, even where it is a class or a provider.

        Raises:
            ConfigurationError: when nothing is registered for it, or the replacement cannot be made.
        """
        key = self._service_of(service)
        made = self._replacement(key, implementation, instance=instance)
        known = set(self._graph_problems())
        layer = self._resolver.overrides.push(made)
        problems = [problem for problem in self._graph_problems(made) if problem not in known]
        if problems:
            layer.restore()
            raise ConfigurationError(problems)
        return layer

    def override_providers(self, **replacements: Any) -> Overriding:  # type: ignore[override]
        """Replace several parts by their providers' names, while a `with` block lasts.

        Parameters:
            replacements: objects, classes or dependency-injector providers, by provider name.

        Raises:
            ConfigurationError: when one of them cannot be replaced; then none is.
        """
        overriding = Overriding()
        try:
            for name, implementation in replacements.items():
                found = self.providers.get(name)
                if found is None or isinstance(found, ServiceProvider):
                    overriding.add(self.override(name, implementation).restore)
                else:
                    # A provider that was put in by hand: dependency-injector knows how to override those.
                    _override_by_hand(found, implementation)
                    overriding.add(found.reset_last_overriding)
        except BaseException:
            overriding.restore()
            raise
        return overriding

    # --- using it ---

    def get(self, service: ServiceType[S]) -> S:
        """Return a service: the singleton, the surrounding message's own, or a new one.

        Parameters:
            service: a registered type.

        Raises:
            ConfigurationError: when nothing provides it.
            LookupError: for a scoped service where no message is being handled.
        """
        return self._resolver.resolve(service)  # type: ignore[no-any-return]

    def provider(self, service: ServiceType[S]) -> ServiceProvider[S]:
        """Return the dependency-injector provider of a service.

        Parameters:
            service: a registered type.

        Raises:
            ConfigurationError: when nothing provides it.
        """
        for found in self.providers.values():
            if isinstance(found, ServiceProvider) and found.service == service:
                return found
        msg = f"nothing provides {shown(service)}: register one with add_singleton({shown(service)}, ...)"
        raise ConfigurationError(msg)

    def validate(self) -> None:
        """Check the whole composition without starting it.

        Raises:
            ConfigurationError: listing every mistake, each with its cause and mend.
        """
        assembly = self._assembly
        problems = self._graph_problems()
        problems += check_modules(self._modules, frozenset(self._registrations))
        problems += _shared_names([*assembly.requests, *assembly.streams, *assembly.events])
        if problems:
            raise ConfigurationError(problems)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[CatgaApp, None]:
        """Check, connect and start everything; drain and close it when the block is left.

        Raises:
            ConfigurationError: for a wrong composition, before anything is started.
            CatgaError: when a server cannot be reached.
            ExceptionGroup: of what went wrong while stopping.
        """
        app = await self._lifecycle.start()
        try:
            yield app
        finally:
            await self._lifecycle.stop()

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM, then drain and close."""
        await self._lifecycle.run_until_signal()

    def health(self) -> dict[str, Health]:
        """Return each part's state as it is now, by its provider's name."""
        return self._lifecycle.health()

    def wire(self, *arguments: Any, **options: Any) -> None:
        """Inject into modules, as dependency-injector does.

        Parameters:
            arguments: as in dependency-injector.
            options: as in dependency-injector: `modules=`, `packages=`, `from_package=`.
        """
        # What wired code reaches cannot be known, so no pipeline may leave the context out any more.
        self._assembly.opaque = True
        self._assembly.forget()
        self._mediator.forget_routes()
        super().wire(*arguments, **options)

    # --- inside ---

    def _graph_problems(self, *more: Registration) -> list[str]:
        roots = [self._resolver.effective(service) or made for service, made in self._registrations.items()]
        return check_graph(self._resolver, [*roots, *self._assembly.roots(), *more])

    def _replacement(self, key: Any, implementation: Any, *, instance: bool) -> Registration:
        replaced, names = self._replaced(key), caller_locals()
        if instance or not _is_made(implementation):
            # Any object may stand in: a test's double need not be derived from what it doubles. It is what it is,
            # for every message.
            lifetime = Lifetime.TRANSIENT if replaced.lifetime is Lifetime.SCOPED else replaced.lifetime
            return Registration(key, lifetime, SourceKind.INSTANCE, implementation, ())
        handled = self._assembly.handled_by(key)
        if handled is None or not isinstance(implementation, type):
            return register_source(key, implementation, replaced.lifetime, names)
        # Another handler of the same message may stand in for a handler.
        entry = handler_entry(implementation, None, names)
        if entry.definition.message_type.cls is not handled.cls:
            msg = (
                f"{with_place(implementation.__name__, implementation)} cannot stand in for {shown(key)}: "
                f"it handles {entry.definition.message_type}, not {handled}"
            )
            raise ConfigurationError(msg)
        made = entry.registration
        return Registration(key, replaced.lifetime, made.kind, made.source, made.parameters)

    def _add(
        self,
        service: Any,
        implementation: Any,
        lifetime: Lifetime,
        name: str | None,
        *,
        instance: bool = False,
    ) -> None:
        self._expect_stopped("services")
        if service is CatgaMediator or service is CatgaOptions:
            msg = f"{shown(service)} is the container's own: override it in a test, or make another container"
            raise ConfigurationError(msg)
        self._put(
            register_source(service, implementation, lifetime, caller_locals(), instance=instance), name
        )

    def _put(self, registration: Registration, name: str | None = None) -> None:
        service = registration.service
        known = service in self._registrations
        self._registrations[service] = registration
        self._resolver.registered()
        self._assembly.forget()
        if known and name is None:
            return
        chosen = name or PORTS.get(service) or provider_name(service)
        taken = self.providers.get(chosen)
        if chosen in _RESERVED or (taken is not None and getattr(taken, "service", None) != service):
            if name is None:
                # Found by type all the same; only the short name is somebody else's.
                return
            msg = f"the name {name!r} for {shown(service)} is taken: choose another name="
            raise ConfigurationError(msg)
        self.set_provider(chosen, ServiceProvider(service, self._resolver, self.override))

    def _service_of(self, service: Any) -> Any:
        if isinstance(service, str):
            found = self.providers.get(service)
            if not isinstance(found, ServiceProvider):
                names = ", ".join(sorted(self.providers))
                msg = f"there is no provider called {service!r} to override: there are {names}"
                raise ConfigurationError(msg)
            return found.service
        return service

    def _replaced(self, service: Any) -> Registration:
        known = self._registrations.get(service)
        if known is not None:
            return known
        for root in self._assembly.declared():
            if root.service is service:
                return root
        if service is Transport:
            return Registration(service, Lifetime.SINGLETON, SourceKind.INSTANCE, None, ())
        msg = f"{shown(service)} cannot be overridden, because nothing provides it: register it first"
        raise ConfigurationError(msg)

    def _expect_stopped(self, what: str) -> None:
        if self._lifecycle.started:
            msg = (
                f"the container runs, and {what} can no longer be added: add them before running(), "
                "or use override() to replace a part"
            )
            raise ConfigurationError(msg)


def _override_by_hand(provider: Any, implementation: Any) -> None:
    # Of Any: dependency-injector's own stubs leave the type of what comes back open.
    provider.override(implementation)


def _is_made(implementation: Any) -> bool:
    return isinstance(implementation, (type, Provider)) or get_origin(implementation) is not None


def _two_handlers(described: MessageType, first: Any, second: Any) -> str:
    names = " and ".join(with_place(each.__name__, each) for each in (first, second))
    if first is second:
        return f"{with_place(first.__name__, first)} is registered twice for {described.name}: take one away"
    return (
        f"{described.name} has two handlers, {names}, and a request has exactly one: "
        "take one away, or make it an event"
    )


def _shared_names(classes: list[type[Message]]) -> list[str]:
    from catga_core.messages import message_type

    seen: dict[tuple[str, int], type[Message]] = {}
    problems: list[str] = []
    for cls in dict.fromkeys(classes):
        described = message_type(cls)
        other = seen.setdefault((described.name, described.version), cls)
        if other is not cls:
            problems.append(
                f"{with_place(other.__qualname__, other)} and {with_place(cls.__qualname__, cls)} are both called "
                f"{described} on the wire: give one of them another name with @message(name=...)"
            )
    return problems


_RESERVED = frozenset(name for name in dir(CatgaContainer) if not name.startswith("__"))
