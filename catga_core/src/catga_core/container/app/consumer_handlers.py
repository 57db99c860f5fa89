"""The handlers of consumers (projections and subscriptions): how each is created, and the end of its pipelines."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from catga_core.container.di.products import AsyncNeeded
from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind
from catga_core.container.di.resolver import Resolver
from catga_core.container.di.sources import register_source
from catga_core.handlers.hints import shown
from catga_core.messages.results import Failure
from catga_core.pipeline import Call, Supply, failure_of, raised_of
from catga_core.pipeline.scoped import in_scope
from catga_core.runtime.scope import Scope

S = TypeVar("S")
T = TypeVar("T")


class ConsumerEntry(msgspec.Struct, frozen=True):
    """One consumer's handler.

    Args:
        key: The consumer, by kind and name, such as `projection:totals`.
        name: The consumer's name, for errors.
        registration: How the handler is created: a service by its class, or a function that takes the event first.
        adapt: Gives what is called with an event, from the handler; not used for functions.
    """

    key: str
    name: str
    registration: Registration
    adapt: Callable[[Any], Call]

    @property
    def is_class(self) -> bool:
        """Whether the container creates objects of a class."""
        return not self.registration.skip


def class_consumer(
    key: str, name: str, cls: Any, adapt: Callable[[Any], Call], names: Mapping[str, Any]
) -> ConsumerEntry:
    """Describe a handler that is a class.

    It becomes a service, unless it is registered as one: scoped where it holds anything scoped, else a singleton.

    Args:
        key: As in `ConsumerEntry`.
        name: As in `ConsumerEntry`.
        cls: The class.
        adapt: Gives what is called with an event, from an object of the class or of what overrides it.
        names: The names in scope where it is added, for its annotations.

    Raises:
        ConfigurationError: For a class that cannot be created from services.
    """
    registration = register_source(cls, None, Lifetime.SINGLETON, names)
    return ConsumerEntry(key, name, msgspec.structs.replace(registration, auto=True), adapt)


def function_consumer(
    key: str, name: str, function: Callable[..., Any], call: Callable[..., Any], needs: Mapping[str, Any]
) -> ConsumerEntry:
    """Describe a handler that is a function.

    Args:
        key: As in `ConsumerEntry`; the function itself may be the handler of several consumers.
        name: As in `ConsumerEntry`.
        function: The function, for errors.
        call: Calls it: `(event, **services)`.
        needs: The services it takes, by parameter name.
    """
    source = call if call is function else functools.update_wrapper(call, function)
    parameters = tuple(
        Parameter(each, service, optional=False, keyword=True) for each, service in needs.items()
    )
    made = Registration(key, Lifetime.TRANSIENT, SourceKind.FACTORY, source, parameters, skip=1)
    return ConsumerEntry(key, name, made, lambda handler: handler)


def adapted(supply: Supply, adapt: Callable[[Any], Call]) -> Supply:
    """Return a supply of what is called with an event, from the supply of a handler.

    Args:
        supply: Gives the handler.
        adapt: Gives the call.
    """
    make = supply.make
    if supply.constant:
        call = adapt(make(None))
        return Supply(lambda _scope: call, constant=True)
    return Supply(lambda scope: adapt(make(scope)), scoped=supply.scoped, prepare=supply.prepare)


async def use_in_scope(resolver: Resolver, service: Any, use: Callable[[Any], Awaitable[T]]) -> T:
    """Use a service in its own scope, which is closed afterwards as after a message.

    Args:
        resolver: Gives the service.
        service: Its type.
        use: Called with it.

    Returns:
        What `use` returns.

    Raises:
        Exception: What creating, using or closing raises.
    """
    try:
        supply = resolver.supply(service)
    except AsyncNeeded:
        await resolver.build(service)
        supply = resolver.supply(service)
    if not supply.scoped:
        return await use(supply.make(None))

    def begin(scope: Scope) -> Callable[[Any], Awaitable[tuple[T]]]:
        async def used(_nothing: object) -> tuple[T]:
            # In a tuple, so that a result is a value like any other.
            return (await use(supply.make(scope)),)

        return used

    result = await in_scope(begin, supply.prepare, shown(service), failure_of)(None)
    if isinstance(result, Failure):
        raise raised_of(result)
    value: tuple[T] = result.unwrap()
    return value[0]
