"""Makes services: compiled once for each registration, rebuilt only where an override reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from catga_core.container.di.overrides import Override, Overrides
from catga_core.container.di.products import AsyncNeeded, Product, product, product_now
from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind, how_registered
from catga_core.container.di.singletons import SingletonKey, Singletons
from catga_core.container.di.supplies import CONTEXT, of_call, of_object, of_provider, of_scope
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import shown
from catga_core.interfaces.port import whole_of
from catga_core.messages.message_context import MessageContext
from catga_core.pipeline.supply import Supply
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.scope import active_scope, closer_of_object


class Resolver:
    """Gives services by type.

    A singleton is kept for each set of overrides that reaches it, so one that was built before an override is built
    again while the override lasts, and the first one is there again afterwards.

    Args:
        registrations: By service; may grow until the container starts.
        default_of: Returns how an unregistered service of Catga is created.
    """

    def __init__(
        self,
        registrations: Mapping[Any, Registration],
        *,
        default_of: Callable[[Any], Registration | None],
    ) -> None:
        self._registrations = registrations
        self._default_of = default_of
        self._defaults: dict[Any, Registration | None] = {}
        self._parts: dict[Any, Registration] = {}
        self._chosen: dict[Any, Registration] = {}
        self.overrides: Overrides = Overrides(self._forget)
        self.changed: list[Callable[[], None]] = []
        self._singletons = Singletons()
        self.home: HomeLoop = self._singletons.home
        self._supplies: dict[Any, Supply] = {}
        self._reach: dict[Any, frozenset[Any]] = {}

    # --- what there is ---

    def effective(self, service: Any) -> Registration | None:
        """Return how a service is made now: by its newest override, else as registered, else by default."""
        whole = whole_of(service)
        layer = self.overrides.top(service)
        other = None if whole is None else self.overrides.top(whole)
        if other is not None and (layer is None or layer.number < other.number):
            return self._part(service, whole)
        return layer.registration if layer is not None else self.registered_for(service)

    def registered_for(self, service: Any) -> Registration | None:
        """Return how a service is made where no override lasts."""
        found = self._registrations.get(service)
        if found is None:
            if service not in self._defaults:
                self._defaults[service] = self._default_of(service)
            found = self._defaults[service]
        if found is None:
            whole = whole_of(service)
            if whole is not None and self.registered_for(whole) is not None:
                return self._part(service, whole)
        return self._with_lifetime(service, found) if found is not None and found.auto else found

    def _part(self, service: Any, whole: Any) -> Registration:
        """Return how a port is made that another port's service provides."""
        known = self._parts.get(service)
        if known is None:
            parameters = (Parameter("whole", whole, optional=False),)
            known = Registration(service, Lifetime.SINGLETON, SourceKind.FACTORY, _given, parameters)
            self._parts[service] = known
        return known

    @property
    def has_scoped(self) -> bool:
        """Whether any service lives as long as a message."""
        return any(each.lifetime is Lifetime.SCOPED for each in self._registrations.values())

    def needs(self, registration: Registration) -> Iterator[tuple[Parameter, Registration]]:
        """Yield what a registration is given, leaving out what is optional and not there."""
        for parameter in registration.parameters:
            found = self.effective(parameter.service)
            if found is not None:
                yield parameter, found

    def reach(self, service: Any) -> frozenset[Any]:
        """Return a service and everything it holds, directly or through others."""
        known = self._reach.get(service)
        if known is None:
            registration = self.effective(service)
            found = {service}
            if registration is not None:
                found |= self.reach_of(registration)
            known = self._reach[service] = frozenset(found)
        return known

    def reach_of(self, registration: Registration) -> frozenset[Any]:
        """Return everything a registration holds; the graph has no cycles (`graph.py` checks that first)."""
        found: set[Any] = set()
        for service in (*(parameter.service for parameter in registration.parameters), *registration.after):
            if service is MessageContext:
                found.add(MessageContext)
            elif self.effective(service) is not None:
                found |= self.reach(service)
        return frozenset(found)

    def registered(self) -> None:
        """Forget what was worked out, because a service has been registered."""
        self._supplies.clear()
        self._reach.clear()
        self._chosen.clear()

    # --- making things ---

    def supply(self, service: Any) -> Supply:
        """Return where a service comes from.

        Raises:
            AsyncNeeded: When a singleton it holds has to be awaited first.
        """
        known = self._supplies.get(service)
        if known is None:
            if service is MessageContext:
                known = CONTEXT
            else:
                registration = self.effective(service)
                if registration is None:
                    msg = f"{shown(service)} is not registered. {how_registered(service)}."
                    raise ConfigurationError(msg)
                known = self._supply_of(service, registration)
            self._supplies[service] = known
        return known

    def supply_for(self, registration: Registration, *, method: str = "") -> Supply:
        """Return where the product of a registration that is not a service comes from: a handler, a behavior.

        Args:
            registration: How it is made.
            method: The name of the method to give instead of the object.
        """
        return self._make_supply(registration, f".{method}" if method else "")

    def kept(self, registration: Registration) -> Any:
        """Return the one product of a registration that is not a service: a handler or behavior that lasts."""
        layers = (self.overrides.top(held) for held in self.reach_of(registration))
        key = (registration, frozenset(layer.number for layer in layers if layer is not None))

        def make() -> Product:
            made = self._make_supply(registration).make(None)
            return made, closer_of_object(made)

        return self._singletons.get(key, registration, make)

    def resolve(self, service: Any) -> Any:
        """Return a service now: the singleton, the surrounding message's own, or a new one.

        Raises:
            LookupError: For a scoped service where no message is being handled.
        """
        try:
            supply = self.supply(service)
        except AsyncNeeded:
            msg = (
                f"{shown(service)} is created by an async factory and was not created since its override. "
                "Send a message that needs it first."
            )
            raise AsyncNeeded(msg) from None
        scope = active_scope.get()
        if supply.scoped and scope is None:
            msg = (
                f"{shown(service)} is scoped, and no message with a scope is being handled. Inject it into the "
                "constructor of a handler or behavior."
            )
            raise LookupError(msg)
        return supply.make(scope)

    async def build(self, service: Any) -> Any:
        """Make a singleton and all it holds, awaiting what has to be; return it."""
        while True:
            try:
                return await self._build(service)
            except AsyncNeeded:
                # An override came between the making of what it holds and its own: with that one, once more.
                continue

    async def _build(self, service: Any) -> Any:
        registration = self.effective(service)
        if registration is None or registration.lifetime is not Lifetime.SINGLETON:
            if registration is not None:
                await self.build_needs(registration)
            return None
        await self.build_needs(registration)
        return await self._singletons.get_async(
            self._key(service), registration, lambda: product(registration, self._arguments)
        )

    async def build_needs(self, registration: Registration) -> None:
        """Make every singleton a registration holds."""
        for parameter, _ in self.needs(registration):
            await self.build(parameter.service)

    def disown(self, made: Any) -> None:
        """Leave the closing of a singleton to somebody else.

        Args:
            made: The object.
        """
        self._singletons.disown(made)

    async def close(self) -> list[Exception]:
        """Close every singleton in reverse order of making; return what went wrong."""
        errors = await self._singletons.close()
        self._supplies.clear()
        return errors

    # --- inside ---

    def _with_lifetime(self, service: Any, registration: Registration) -> Registration:
        known = self._chosen.get(service)
        if known is None:
            known = registration
            if self._holds_scoped(registration):
                known = msgspec.structs.replace(registration, lifetime=Lifetime.SCOPED)
            self._chosen[service] = known
        return known

    def _holds_scoped(self, registration: Registration) -> bool:
        """Return whether a registration holds anything scoped; the graph may still have cycles."""
        seen: set[Any] = set()
        waiting = [registration]
        while waiting:
            for parameter in waiting.pop().parameters:
                service = parameter.service
                if service is MessageContext:
                    return True
                held = self._registrations.get(service)
                if held is None or service in seen:
                    # Catga's own defaults are singletons.
                    continue
                seen.add(service)
                if held.lifetime is Lifetime.SCOPED:
                    return True
                if held.auto or held.lifetime is Lifetime.TRANSIENT:
                    waiting.append(held)
        return False

    def _forget(self, layer: Override) -> None:
        self._supplies.clear()
        self._reach.clear()
        if self.overrides.top(layer.service) is not layer:
            self._singletons.forget(layer)
        for notify in self.changed:
            notify()

    def _key(self, service: Any) -> SingletonKey:
        layers = (self.overrides.top(held) for held in self.reach(service))
        return service, frozenset(layer.number for layer in layers if layer is not None)

    def _supply_of(self, service: Any, registration: Registration) -> Supply:
        if registration.lifetime is Lifetime.SINGLETON:
            made = self._singletons.get(
                self._key(service), registration, lambda: product_now(registration, self._arguments)
            )
            return of_object(made)
        inner = self._make_supply(registration)
        if registration.lifetime is Lifetime.SCOPED:
            return of_scope(registration, inner, self._singletons.holds)
        return inner

    def _arguments(self, registration: Registration) -> dict[str, Any]:
        return {
            parameter.name: self.supply(parameter.service).make(None)
            for parameter, _ in self.needs(registration)
        }

    def _make_supply(self, registration: Registration, attribute: str = "") -> Supply:
        """Compile a call that makes a new object each time."""
        if registration.kind is SourceKind.PROVIDER:
            return of_provider(
                registration, [self.supply(parameter.service) for parameter, _ in self.needs(registration)]
            )
        if registration.kind is SourceKind.INSTANCE:
            return of_object(registration.source)
        held = [(parameter, self._held(parameter)) for parameter in registration.parameters]
        return of_call(registration, held, attribute)

    def _held(self, parameter: Parameter) -> Supply | None:
        if parameter.service is MessageContext or self.effective(parameter.service) is not None:
            return self.supply(parameter.service)
        return None


def _given(whole: Any) -> Any:
    return whole
