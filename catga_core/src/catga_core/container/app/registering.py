"""The part of `CatgaContainer` that takes things in: services, handlers, behaviors, features, modules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from dependency_injector.containers import DynamicContainer

from catga_core.container.app.assembly import Assembly
from catga_core.container.app.conflicts import shared_names, undecodable
from catga_core.container.app.consumer_handlers import class_consumer, function_consumer, use_in_scope
from catga_core.container.app.contributions import Contributions
from catga_core.container.app.entries import behavior_entry, check_hosted, handler_entries, validator_entry
from catga_core.container.app.features import FeatureSet
from catga_core.container.app.lifecycle import Lifecycle
from catga_core.container.app.module_checks import ModuleBase, check_modules, module_of
from catga_core.container.app.options import CatgaOptions, check_options
from catga_core.container.app.registry import Registry
from catga_core.container.app.roles import DEFAULT_ROLES, Role, check_roles
from catga_core.container.app.stores import check_one_storage, default_of
from catga_core.container.di.registration import Lifetime, Registration
from catga_core.container.di.resolver import Resolver
from catga_core.container.di.services import Implementation, ServiceType
from catga_core.errors import ConfigurationError
from catga_core.feature import Feature
from catga_core.handlers.hints import caller_locals
from catga_core.interfaces.validation import Validator
from catga_core.mediator import CatgaMediator, Dispatcher
from catga_core.messages import MessageType
from catga_core.pipeline import Call
from catga_core.pipeline.behavior import AnyBehavior
from catga_core.pipeline.stage import Stage

S = TypeVar("S")
T = TypeVar("T")


class Registering(DynamicContainer):
    """Takes in what an application is made of; `CatgaContainer` adds overriding, using and running.

    Args:
        options: The container's.
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
        self._modules: list[ModuleBase] = []
        self._registry = Registry(
            self,
            registrations,
            self._resolver,
            self._assembly,
            frozenset(name for name in dir(type(self)) if not name.startswith("__")),
            lambda: self._lifecycle.started,
        )
        self._features = FeatureSet(
            contributions,
            self._resolver,
            self._assembly.definitions,
            self._registry.put,
            self._registry.drop,
            self._registry.offer,
            self.add_function_consumer,
        )
        self._lifecycle = Lifecycle(
            self.validate,
            lambda: self.providers,
            self._dispatcher,
            self._assembly,
            self._resolver,
            registrations,
            self._registry.hosted,
            contributions.workers,
            self._features.health,
        )
        self._registry.add_own(chosen, self._mediator, self._dispatcher)

    def add_singleton(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
        instance: bool = False,
    ) -> None:
        """Register a service of which the container makes one, when it starts.

        Args:
            service: The type it is asked for by.
            implementation: A class (its constructor's parameters are resolved by type), a factory (sync, async or with
                one `yield`, ended when the container stops), an object, or a dependency-injector provider; left out,
                the service itself. The last registration of a service wins.
            name: The provider's name, `None` for the class's in snake_case.
            instance: Take the implementation as the object itself, even where it is callable.

        Raises:
            ConfigurationError: When it cannot be that service, or the container runs already.
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

        Args:
            service: The type it is asked for by.
            implementation: A class, a factory, or a provider; left out, the service itself.
            name: The provider's name, `None` for the class's in snake_case.

        Raises:
            ConfigurationError: When it cannot be that service, or the container runs already.
        """
        self._registry.add(service, implementation, Lifetime.SCOPED, name)

    def add_transient(
        self,
        service: ServiceType[S],
        implementation: Implementation[S] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Register a service that is created wherever it is needed.

        Args:
            service: The type it is asked for by.
            implementation: A class, a synchronous factory, or a provider; left out, the service itself.
            name: The provider's name, `None` for the class's in snake_case.

        Raises:
            ConfigurationError: When it cannot be that service, or the container runs already.
        """
        self._registry.add(service, implementation, Lifetime.TRANSIENT, name)

    def add_handlers(self, *handlers: Callable[..., Any], lifetime: Lifetime | None = None) -> None:
        """Register handlers: classes with a `handle` method, or functions whose first parameter is the message.

        Args:
            handlers: For requests, events and stream queries alike.
            lifetime: For classes; `None` makes one object where all it holds are singletons, else one for each message.

        Raises:
            ConfigurationError: When a handler's message or result does not fit, or the container runs already.
        """
        self._registry.expect_stopped("handlers")
        names = caller_locals()
        for target in handlers:
            for entry in handler_entries(target, lifetime, names):
                self._assembly.handlers.add(entry)
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

        Args:
            validators: Classes derived from `Validator[Message]`, or objects of such.

        Raises:
            ConfigurationError: When one does not say for which message it is, or the container runs already.
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

        Args:
            service: The type it is asked for by.
            implementation: As in `add_singleton`.
            name: The provider's name, `None` for the class's in snake_case.
            after: Services to start before it and stop after it, although it does not hold them.
            role: The role of processes that start it, such as `"work"`; `None` for every process, but for a service that
                holds the mediator, which has the role `work`.

        Raises:
            ConfigurationError: When it cannot be started and stopped, or the container runs already.
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

    def has_feature(self, name: str) -> bool:
        """Return whether a feature of a name was added, by the application or by the container's options.

        Args:
            name: The feature's name.
        """
        return self._features.has(name)

    def add_module(self, module: type[ModuleBase] | ModuleBase) -> None:
        """Let a module register itself; its needs are checked when the container starts.

        Args:
            module: A class derived from `Module`, or an object of one.

        Raises:
            ConfigurationError: It is not a module, was added already, or registers something that does not fit.
        """
        self._registry.expect_stopped("modules")
        made = module_of(module, self._modules)
        self._modules.append(made)
        made.register(self)

    def validate(self, *, roles: Collection[Role] = DEFAULT_ROLES) -> None:
        """Check the whole composition without starting it.

        Args:
            roles: What a process is to do with it, as in `running()`.

        Raises:
            ConfigurationError: Listing every mistake, each with its cause and fix.
        """
        assembly = self._assembly
        problems = self._registry.problems()
        problems += check_modules(self._modules, lambda need: self._resolver.effective(need) is not None)
        problems += assembly.problems() + self._features.problems(check_roles(roles))
        problems += self._registry.wiring_problems()
        problems += undecodable(assembly.definitions())
        problems += shared_names(assembly.handlers.registered())
        if problems:
            raise ConfigurationError(problems)

    # --- what plugins use ---

    def register(self, registration: Registration) -> None:
        """Take in a registration that is described already.

        Raises:
            ConfigurationError: When the container runs already.
        """
        self._registry.register(registration)

    def add_class_consumer(self, key: str, name: str, cls: type[Any], adapt: Callable[[Any], Call]) -> None:
        """Register a consumer's handler that is a class, for `Dispatcher.consumer_endpoint(key, ...)`.

        It becomes a service, unless it is registered as one.

        Args:
            key: The consumer, by kind and name, such as `projection:totals`.
            name: The consumer's name, for errors.
            cls: The class.
            adapt: Returns what is called with an event, from an object of the class or of what overrides it.

        Raises:
            ConfigurationError: For a class that cannot be created from services, or when the container runs already.
        """
        self._registry.expect_stopped("consumers")
        entry = class_consumer(key, name, cls, adapt, caller_locals())
        self._assembly.consumers[key] = entry
        if self.registered(cls) is None:
            self._registry.register(entry.registration)

    def add_function_consumer(
        self,
        key: str,
        name: str,
        function: Callable[..., Any],
        call: Callable[..., Any],
        needs: Mapping[str, Any],
    ) -> None:
        """Register a consumer's handler that is a function, for `Dispatcher.consumer_endpoint(key, ...)`.

        Args:
            key: The consumer, by kind and name, such as `subscription:mails`.
            name: The consumer's name, for errors.
            function: The function, for errors.
            call: Calls it: `(event, **services)`.
            needs: The services it takes, by parameter name.

        Raises:
            ConfigurationError: When the container runs already.
        """
        self._registry.expect_stopped("consumers")
        self._assembly.consumers[key] = function_consumer(key, name, function, call, needs)

    def check_one_storage(self, named: str, ports: Sequence[Any]) -> None:
        """Check that ports are kept in one storage, because they are written in one unit of work.

        Args:
            named: What relies on that, for the error.
            ports: The ports; `Storage` for the storage of the container's units of work.

        Raises:
            ConfigurationError: Naming two storages.
        """
        check_one_storage(self._resolver, named, ports)

    async def use_in_scope(self, service: ServiceType[S], use: Callable[[S], Awaitable[T]]) -> T:
        """Call `use` with a service outside of any message, in a scope that is closed afterwards; raise what it raises."""
        return await use_in_scope(self._resolver, service, use)

    def registered(self, service: Any) -> Registration | None:
        """Return how a service is made where no override lasts, `None` where nothing provides it."""
        return self._resolver.registered_for(service)
