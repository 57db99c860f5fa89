"""`CatgaContainer`: where an application is put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from dependency_injector.containers import DynamicContainer

from catga_core.container.app.application import CatgaApp
from catga_core.container.app.assembly import Assembly
from catga_core.container.app.conflicts import shared_names
from catga_core.container.app.consumer_handlers import ConsumerEntry, use_in_scope
from catga_core.container.app.contributions import Contributions
from catga_core.container.app.entries import behavior_entry, check_hosted, handler_entry, validator_entry
from catga_core.container.app.features import FeatureSet
from catga_core.container.app.lifecycle import Lifecycle
from catga_core.container.app.modules import Module, check_modules, module_of
from catga_core.container.app.options import CatgaOptions, check_options
from catga_core.container.app.registry import Registry
from catga_core.container.app.replacing import override_each
from catga_core.container.app.roles import DEFAULT_ROLES, Role, check_roles
from catga_core.container.app.stores import default_of
from catga_core.container.di.naming import provider_of
from catga_core.container.di.overrides import Override, Overriding
from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.registration import Lifetime, Registration
from catga_core.container.di.resolver import Resolver
from catga_core.container.di.services import Implementation, ServiceType
from catga_core.errors import ConfigurationError
from catga_core.feature import Feature
from catga_core.handlers.hints import caller_locals
from catga_core.interfaces.health import Health
from catga_core.interfaces.storage import Storage, UnitOfWork
from catga_core.interfaces.validation import Validator
from catga_core.mediator import CatgaMediator, Dispatcher
from catga_core.messages import MessageType
from catga_core.pipeline.behavior import AnyBehavior
from catga_core.pipeline.stage import Stage

S = TypeVar("S")
T = TypeVar("T")


class CatgaContainer(DynamicContainer):
    """Holds everything an application is made of, checks that it fits, and runs it.

    It is a dependency-injector container: the ports are providers (`catga.mediator`, `catga.transport`,
    `catga.serializer`, `catga.clock`), every service is one under its snake_case name, and `wire`, `@inject` and
    `Provide["mediator"]` work. Make it with `add_catga()`.
    """

    def __init__(self, options: CatgaOptions | None = None) -> None:
        super().__init__()
        chosen = options or CatgaOptions()
        check_options(chosen)
        registrations: dict[Any, Registration] = {}
        contributions = Contributions()
        self._resolver = Resolver(
            registrations,
            default_of=lambda service: contributions.default_of(service) or default_of(service),
        )
        self._assembly = Assembly(self._resolver, contributions)
        self._dispatcher = Dispatcher(self._assembly)
        self._mediator = CatgaMediator(self._assembly, self._dispatcher)
        self._resolver.changed.append(self._dispatcher.forget)
        self._modules: list[Module] = []
        self._registry = Registry(
            self, registrations, self._resolver, self._assembly, _RESERVED, lambda: self._lifecycle.started
        )
        self._features = FeatureSet(
            contributions,
            self._resolver,
            self._assembly.definitions,
            self._registry.put,
            self._registry.drop,
            self._registry.provide,
        )
        self._lifecycle = Lifecycle(
            self,
            self._dispatcher,
            self._assembly,
            self._resolver,
            registrations,
            self._registry.hosted,
            contributions.workers,
            self._features.health,
        )
        self._registry.add_own(chosen, self._mediator, self._dispatcher)

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
        self._registry.add(service, implementation, Lifetime.SINGLETON, name, instance=instance)

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
        self._registry.add(service, implementation, Lifetime.SCOPED, name)

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
        self._registry.add(service, implementation, Lifetime.TRANSIENT, name)

    def add_handlers(self, *handlers: Callable[..., Any], lifetime: Lifetime | None = None) -> None:
        """Register handlers: classes with a `handle` method, or functions whose first parameter is the message.

        Parameters:
            handlers: for requests, events and stream queries alike.
            lifetime: for classes; `None` makes one object where all it holds are singletons, else one for each message.

        Raises:
            ConfigurationError: when a handler's message or result does not fit, or the container runs already.
        """
        self._registry.expect_stopped("handlers")
        names = caller_locals()
        for target in handlers:
            entry = handler_entry(target, lifetime, names)
            self._assembly.add_handler(entry)
            self._features.handler_added(entry.definition)
        self._assembly.forget()

    def add_behavior(
        self,
        behavior: type[AnyBehavior] | AnyBehavior,
        *,
        stage: Stage | None = None,
        order: int | None = None,
        when: Callable[[MessageType], bool] | None = None,
        lifetime: Lifetime | None = None,
    ) -> None:
        """Register a behavior: it runs around the handling of the messages it is for.

        Args:
            behavior: A class derived from `Behavior`, or an object of one.
            stage: Its place in the pipeline; `None` takes the class's own `stage`, else `Stage.USER`: inside of
                everything that Catga adds, next to the handler.
            order: Lower is further outside within its stage; `None` takes the class's own `order`, else 0. Equal orders
                keep the order of registration; what Catga adds to a stage has order 0 and comes first.
            when: Asked once for each message type whether it belongs into its pipeline; `None` for always.
            lifetime: For classes; `None` creates one object where all it holds are singletons, else one per message.

        Raises:
            ConfigurationError: When it is not a behavior, its stage is not possible, or the container runs already.
        """
        self._registry.expect_stopped("behaviors")
        self._assembly.behaviors.append(
            behavior_entry(behavior, stage, order, when, lifetime, caller_locals())
        )
        self._assembly.forget()

    def add_validator(self, *validators: type[Validator[Any]] | Validator[Any]) -> None:
        """Have messages checked by a rule before they are handled.

        Parameters:
            validators: classes derived from `Validator[Message]`, or objects of such.

        Raises:
            ConfigurationError: when one does not say for which message it is, or the container runs already.
        """
        self._registry.expect_stopped("validators")
        names = caller_locals()
        self._assembly.validators.extend(validator_entry(validator, names) for validator in validators)
        self._assembly.forget()

    def add_hosted(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
        after: Sequence[Any] = (),
        role: Role | None = None,
    ) -> None:
        """Register a singleton with `start()` and `stop()` that runs as long as the container.

        Hosted services start in dependency order and stop in reverse. One that holds the mediator starts after
        everything else and stops first; any other outlives the messages that are in flight.

        Parameters:
            service: the type it is asked for by.
            implementation: as in `add_singleton`.
            name: the provider's name, `None` for the class's in snake_case.
            after: services to start before it and stop after it, although it does not hold them.
            role: The role of processes that start it, such as `"work"`; `None` for every process, but for a service that
                holds the mediator, which has the role `work`.

        Raises:
            ConfigurationError: when it cannot be started and stopped, or the container runs already.
        """
        check_hosted(service, implementation)
        self._registry.add(service, implementation, Lifetime.SINGLETON, name, after=tuple(after))
        self._registry.host(service, role)

    def add_feature(self, feature: Feature, /) -> None:
        """Add a capability with its services, workers, pipeline stages, checks and health.

        Args:
            feature: The feature; one added before under the same name is replaced, with all that it contributed.

        Raises:
            ConfigurationError: When it is not a feature, or the container runs already.
        """
        self._registry.expect_stopped("features")
        self._features.add(feature)
        self._assembly.forget()
        self._dispatcher.forget()

    def add_module(self, module: type[Module] | Module) -> None:
        """Let a module register itself; its needs are checked when the container starts.

        Parameters:
            module: a class derived from `Module`, or an object of one.

        Raises:
            ConfigurationError: when it is no module, was added already, or registers something that does not fit.
        """
        self._registry.expect_stopped("modules")
        made = module_of(module, self._modules)
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
        What was made anew is closed when the container stops, because a message in flight may still hold it.

        Parameters:
            service: a registered type, a handler class, or a provider's name.
            implementation: an object, or as in `add_singleton` a class, a factory or a dependency-injector provider. It
                need not be derived from what it doubles. For a handler, whatever handles the same message.
            instance: take the implementation as the object itself, even where it is a class, a function or a provider.

        Raises:
            ConfigurationError: when nothing is registered for it, the replacement cannot be made, or is no handler.
        """
        return self._registry.replace(service, implementation, instance=instance)

    def override_providers(self, **replacements: Any) -> Overriding:  # type: ignore[override]
        """Replace several parts by their providers' names, while a `with` block lasts.

        Parameters:
            replacements: what stands in, as in `override`, by provider name.

        Raises:
            ConfigurationError: when one of them cannot be replaced; then none is.
        """
        return override_each(self.providers, self.override, replacements)

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
        return provider_of(service, self.providers)

    def validate(self) -> None:
        """Check the whole composition without starting it.

        Raises:
            ConfigurationError: listing every mistake, each with its cause and mend.
        """
        assembly = self._assembly
        problems = self._registry.problems()
        problems += check_modules(self._modules, lambda need: self._resolver.effective(need) is not None)
        problems += assembly.problems() + self._features.problems()
        problems += shared_names([*assembly.requests, *assembly.streams, *assembly.events])
        if problems:
            raise ConfigurationError(problems)

    @asynccontextmanager
    async def running(self, *, roles: Collection[Role] = DEFAULT_ROLES) -> AsyncGenerator[CatgaApp, None]:
        """Check, connect and start everything; drain and close it when the block is left.

        Args:
            roles: What this process does: `serve` handles what the transport delivers, `work` runs consumers, the
                outbox relay and every other worker. A tool runs with `{"admin"}`: stores and transport are connected
                and the mediator sends, but nothing is consumed.

        Raises:
            ConfigurationError: For a wrong composition or an unknown role, before anything is started.
            CatgaError: when a server cannot be reached.
            ExceptionGroup: of what went wrong while stopping.
        """
        app = await self._lifecycle.start(check_roles(roles))
        try:
            yield app
        finally:
            await self._lifecycle.stop()

    async def run(self, *, roles: Collection[Role] = DEFAULT_ROLES) -> None:
        """Run until SIGINT or SIGTERM, then drain and close.

        Args:
            roles: As in `running()`.

        A signal while it still starts ends the start and returns; a second one while it stops ends the waiting for what
        is in flight. Raises as `running()` does.
        """
        await self._lifecycle.run_until_signal(roles)

    def health(self) -> dict[str, Health]:
        """Return each part's state as it is now, by its provider's name."""
        return self._lifecycle.health()

    def wire(self, *arguments: Any, **options: Any) -> None:
        """Inject into modules, as dependency-injector does.

        Parameters:
            arguments: as in dependency-injector.
            options: as in dependency-injector: `modules=`, `packages=`, `from_package=`.
        """
        # Wired code may reach scoped services that no constructor asks for.
        self._assembly.opaque = True
        self._assembly.forget()
        self._dispatcher.forget()
        super().wire(*arguments, **options)

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Return a block in which all that stores are asked to write is written together, or not at all.

        Its storage is the one that keeps the event streams, the outbox, the inbox and the checkpoints. What is published
        in the block is sent after the commit. Entered inside another one, it joins that.

        Raises:
            CatgaError: when the block is left: `CONFLICT` when another has written what this one relied on,
                `PERSISTENCE_FAILED` when it could not be committed.
        """
        return self.get(Storage).unit_of_work()

    # --- what plugins use ---

    def register(self, registration: Registration) -> None:
        """Take in a registration that is described already.

        Raises:
            ConfigurationError: when the container runs already.
        """
        self._registry.register(registration)

    def add_consumer(self, entry: ConsumerEntry) -> None:
        """Register a consumer's handler, for `Dispatcher.consumer_endpoint(entry.key, ...)`.

        Raises:
            ConfigurationError: When the container runs already.
        """
        self._registry.expect_stopped("consumers")
        self._assembly.consumers[entry.key] = entry
        if entry.is_class and self.registered(entry.registration.service) is None:
            self._registry.register(entry.registration)

    async def use_in_scope(self, service: ServiceType[S], use: Callable[[S], Awaitable[T]]) -> T:
        """Call `use` with a service outside of any message, in a scope that is closed afterwards; raise what it raises."""
        return await use_in_scope(self._resolver, service, use)

    def registered(self, service: Any) -> Registration | None:
        """Return how a service is made where no override lasts, `None` where nothing provides it."""
        return self._resolver.registered_for(service)


_RESERVED = frozenset(name for name in dir(CatgaContainer) if not name.startswith("__"))
