"""Makes services: compiled once for each registration, rebuilt only where an override reaches."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from catga_core.cancellation import being_cancelled
from catga_core.container.making import (
    async_opener,
    compile_call,
    context_of,
    note_making,
    prepared,
    quick_opener,
    sync_opener,
)
from catga_core.container.overrides import Override, Overrides
from catga_core.container.registration import Lifetime, Parameter, Registration, SourceKind
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import shown
from catga_core.interfaces.context import MessageContext
from catga_core.pipeline.supply import Supply
from catga_core.scope import (
    Closer,
    active_scope,
    closer_of_async_generator,
    closer_of_generator,
    closer_of_object,
    first_of,
    first_of_async,
    is_closable,
)

SingletonKey = tuple[Any, frozenset[int]]


class AsyncNeeded(LookupError):  # noqa: N818 - control flow between resolver and container
    """A singleton has to be awaited before the graph can be used."""


class Resolver:
    """Gives services by type.

    A singleton is kept for each set of overrides that reaches it, so one that was built before an override is built
    anew while the override lasts, and the first one is there again afterwards.

    Parameters:
        registrations: by service; may grow until the container starts.
        asks_for_context: the services through which a pipeline can send further messages or read its context.
        quiet: the container's own services, known not to.
        default_of: tells how a service of Catga's own is made that nobody has registered.
    """

    def __init__(
        self,
        registrations: Mapping[Any, Registration],
        *,
        asks_for_context: frozenset[Any],
        quiet: frozenset[Any],
        default_of: Callable[[Any], Registration | None],
    ) -> None:
        self._registrations = registrations
        self._default_of = default_of
        self._defaults: dict[Any, Registration | None] = {}
        self._asks_for_context = asks_for_context
        self._quiet = quiet
        self.overrides: Overrides = Overrides(self._forget)
        self.changed: list[Callable[[], None]] = []
        self._singletons: dict[SingletonKey, Any] = {}
        self._closers: list[tuple[SingletonKey, Closer]] = []
        self._building: dict[SingletonKey, asyncio.Lock] = {}
        self._supplies: dict[Any, Supply] = {}
        self._reach: dict[Any, frozenset[Any]] = {}

    # --- what there is ---

    def effective(self, service: Any) -> Registration | None:
        """Return how a service is made now: by its newest override, else as registered, else by default."""
        layer = self.overrides.top(service)
        return layer.registration if layer is not None else self.registered_for(service)

    def registered_for(self, service: Any) -> Registration | None:
        """Return how a service is made where no override lasts."""
        found = self._registrations.get(service)
        if found is None:
            if service not in self._defaults:
                self._defaults[service] = self._default_of(service)
            found = self._defaults[service]
        return found

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
        for parameter in registration.parameters:
            if parameter.service is MessageContext:
                found.add(MessageContext)
            elif self.effective(parameter.service) is not None:
                found |= self.reach(parameter.service)
        return frozenset(found)

    def registered(self) -> None:
        """Forget what was worked out, because a service has been registered."""
        self._supplies.clear()
        self._reach.clear()

    # --- making things ---

    def supply(self, service: Any) -> Supply:
        """Return where a service comes from.

        Raises:
            AsyncNeeded: when a singleton it holds has to be awaited first.
        """
        known = self._supplies.get(service)
        if known is None:
            if service is MessageContext:
                known = Supply(context_of, scoped=True, touches_context=True)
            else:
                registration = self.effective(service)
                if registration is None:
                    msg = f"nothing provides {shown(service)}: register one with add_singleton({shown(service)}, ...)"
                    raise ConfigurationError(msg)
                known = self._supply_of(service, registration)
            self._supplies[service] = known
        return known

    def supply_for(self, registration: Registration, *, method: str = "") -> Supply:
        """Return where the product of a registration that is not a service comes from: a handler, a behavior.

        Parameters:
            registration: how it is made.
            method: the name of the method to give instead of the object.
        """
        return self._make_supply(registration, f".{method}" if method else "")

    def kept(self, registration: Registration) -> Any:
        """Return the one product of a registration that is not a service: a handler or behavior that lasts."""
        layers = (self.overrides.top(held) for held in self.reach_of(registration))
        key = (registration, frozenset(layer.number for layer in layers if layer is not None))
        if key not in self._singletons:
            try:
                made = self._make_supply(registration).make(None)
            except AsyncNeeded:
                raise
            except Exception as error:
                note_making(error, registration)
                raise
            self._keep(key, made, closer_of_object(made))
        return self._singletons[key]

    def resolve(self, service: Any) -> Any:
        """Return a service now: the singleton, the surrounding message's own, or a new one.

        Raises:
            LookupError: for a scoped service where no message is being handled.
        """
        try:
            supply = self.supply(service)
        except AsyncNeeded:
            msg = (
                f"{shown(service)} has to be awaited, and has not been since it was overridden: "
                "it is there after the next message that needs it"
            )
            raise AsyncNeeded(msg) from None
        scope = active_scope.get()
        if supply.scoped and scope is None:
            msg = (
                f"{shown(service)} is scoped, and no message with a scope is being handled here: take it in the "
                "constructor of a handler or behavior"
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
        key = self._key(service)
        if key in self._singletons:
            return self._singletons[key]
        # One makes it and the others wait; a waiter that is cancelled takes nothing from them.
        lock = self._building.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if key not in self._singletons:
                    try:
                        made, closer = await self._make_async(registration)
                    except AsyncNeeded:
                        raise
                    except Exception as error:
                        note_making(error, registration)
                        raise
                    self._keep(key, made, closer)
                return self._singletons[key]
        finally:
            if not lock.locked():
                self._building.pop(key, None)

    async def build_needs(self, registration: Registration) -> None:
        """Make every singleton a registration holds."""
        for parameter, _ in self.needs(registration):
            await self.build(parameter.service)

    def disown(self, made: Any) -> None:
        """Leave the closing of a singleton to somebody else.

        Parameters:
            made: the object.
        """
        self._closers = [each for each in self._closers if self._singletons.get(each[0]) is not made]

    async def close(self) -> list[Exception]:
        """Close every singleton in reverse order of making; return what went wrong."""
        errors: list[Exception] = []
        while self._closers:
            _, closer = self._closers.pop()
            try:
                await _close_now(closer)
            except asyncio.CancelledError:
                # As with a service that stops: it awaited what it has cancelled, and is closed.
                if being_cancelled():
                    raise
            except Exception as error:  # noqa: BLE001 - the others must still be closed
                errors.append(error)
        self._singletons.clear()
        self._supplies.clear()
        self._building.clear()
        return errors

    # --- inside ---

    def _forget(self, layer: Override) -> None:
        self._supplies.clear()
        self._reach.clear()
        gone = self.overrides.top(layer.service) is not layer
        if gone:
            # What was built under this override can never be asked for again; its closers stay until the end.
            self._singletons = {
                key: made
                for key, made in self._singletons.items()
                if layer.number not in key[1] and key[0] is not layer.registration
            }
        for notify in self.changed:
            notify()

    def _key(self, service: Any) -> SingletonKey:
        layers = (self.overrides.top(held) for held in self.reach(service))
        return service, frozenset(layer.number for layer in layers if layer is not None)

    def _keep(self, key: SingletonKey, made: Any, closer: Closer | None) -> None:
        # A factory may give out another service's object under a second name; it is closed once.
        shared = any(made is known for known in self._singletons.values())
        self._singletons[key] = made
        if closer is not None and not shared:
            self._closers.append((key, closer))

    def _supply_of(self, service: Any, registration: Registration) -> Supply:
        if registration.lifetime is Lifetime.SINGLETON:
            instance = self._singleton(service, registration)
            return Supply(lambda _scope: instance, constant=True, touches_context=self._touches(service))
        if registration.lifetime is Lifetime.SCOPED:
            return self._scoped(service, registration)
        return self._make_supply(registration)

    def _singleton(self, service: Any, registration: Registration) -> Any:
        key = self._key(service)
        if key not in self._singletons:
            if registration.kind.is_async:
                raise AsyncNeeded
            try:
                made, closer = self._make_now(registration)
            except AsyncNeeded:
                raise
            except Exception as error:
                note_making(error, registration)
                raise
            self._keep(key, made, closer)
        return self._singletons[key]

    def _make_now(self, registration: Registration) -> tuple[Any, Closer | None]:
        source = registration.source
        if registration.kind is SourceKind.INSTANCE:
            # Whoever made the object closes it.
            return source, None
        if registration.kind is SourceKind.PROVIDER:
            made = source()
            if inspect.isawaitable(made):
                # Only asking tells that it has to be awaited; whoever can await asks again.
                _give_up(made)
                raise AsyncNeeded
            return made, None
        arguments = {
            parameter.name: self.supply(parameter.service).make(None)
            for parameter, _ in self.needs(registration)
        }
        made = source(**arguments)
        if registration.kind is SourceKind.GENERATOR:
            return first_of(made), closer_of_generator(made)
        return made, closer_of_object(made)

    async def _make_async(self, registration: Registration) -> tuple[Any, Closer | None]:
        if registration.kind is SourceKind.PROVIDER:
            made = registration.source()
            return (await made if inspect.isawaitable(made) else made), None
        if not registration.kind.is_async:
            return self._make_now(registration)
        arguments = {
            parameter.name: self.supply(parameter.service).make(None)
            for parameter, _ in self.needs(registration)
        }
        made = registration.source(**arguments)
        if registration.kind is SourceKind.ASYNC_GENERATOR:
            return await first_of_async(made), closer_of_async_generator(made)
        made = await made
        return made, closer_of_object(made)

    def _make_supply(self, registration: Registration, attribute: str = "") -> Supply:
        """Compile a call that makes a new object each time."""
        if registration.kind is SourceKind.PROVIDER:
            source = registration.source
            inner = [self.supply(parameter.service) for parameter, _ in self.needs(registration)]
            return Supply(
                lambda _scope: source(),
                scoped=any(supply.scoped for supply in inner),
                prepare=tuple(dict.fromkeys(each for supply in inner for each in supply.prepare)),
                touches_context=True,
            )
        if registration.kind is SourceKind.INSTANCE:
            source = registration.source
            return Supply(lambda _scope: source, constant=True, touches_context=True)
        held = [(parameter, self._held(parameter)) for parameter in registration.parameters]
        given = [supply for _, supply in held if supply is not None]
        return Supply(
            compile_call(registration, held, attribute),
            scoped=any(supply.scoped for supply in given),
            prepare=tuple(dict.fromkeys(each for supply in given for each in supply.prepare)),
            # Only a class the container makes itself is known through and through.
            touches_context=registration.kind is not SourceKind.CLASS
            or any(supply.touches_context for supply in given),
        )

    def _held(self, parameter: Parameter) -> Supply | None:
        if parameter.service is MessageContext or self.effective(parameter.service) is not None:
            return self.supply(parameter.service)
        return None

    def _touches(self, service: Any) -> bool:
        for held in self.reach(service):
            if held in self._asks_for_context:
                return True
            if held in self._quiet:
                continue
            registration = self.effective(held)
            if registration is not None and registration.kind is not SourceKind.CLASS:
                return True
        return False

    def _scoped(self, service: Any, registration: Registration) -> Supply:
        inner = self._make_supply(registration)
        make, kind = inner.make, registration.kind
        touches = inner.touches_context
        if kind.is_async:
            prepare = (*inner.prepare, async_opener(registration, make, self._is_kept))
            return Supply(prepared(service), scoped=True, prepare=prepare, touches_context=touches)
        if kind is SourceKind.CLASS and not is_closable(registration.source):
            return Supply(
                quick_opener(registration, make), scoped=True, prepare=inner.prepare, touches_context=touches
            )
        opener = sync_opener(registration, make, self._is_kept)
        return Supply(opener, scoped=True, prepare=inner.prepare, touches_context=touches)

    def _is_kept(self, made: Any) -> bool:
        return any(made is known for known in self._singletons.values())


def _give_up(begun: Any) -> None:
    (begun.close if inspect.iscoroutine(begun) else begun.cancel)()


async def _close_now(closer: Closer | None) -> None:
    if closer is not None:
        pending = closer(None)
        if pending is not None:
            await pending
