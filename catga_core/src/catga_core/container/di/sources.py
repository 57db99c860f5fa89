"""`register_source`: describe how a service is made, and check that what makes it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from catga_core.container.di.parameters import parameters_of
from catga_core.container.di.registration import Lifetime, Registration, SourceKind
from catga_core.container.di.source_kinds import generator_function_of, is_partial, kind_of
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import class_of, hints_of, shown


def register_source(
    service: Any,
    implementation: Any,
    lifetime: Lifetime,
    names: Mapping[str, Any],
    *,
    instance: bool = False,
    double: bool = False,
) -> Registration:
    """Describe how a service is made, and check that what makes it fits.

    Args:
        service: The type it is asked for by.
        implementation: A class, a factory, an object, a dependency-injector provider, or `None` for the service itself.
        lifetime: How long it lives.
        names: What is in sight where it is registered.
        instance: Whether the implementation is the object, whatever it looks like.
        double: Whether it stands in for the service in a test, and so need not be derived from it.

    Raises:
        ConfigurationError: Naming the service, the cause and the fix.
    """
    source = service if implementation is None else implementation
    kind = SourceKind.INSTANCE if instance else kind_of(source)
    if kind in {SourceKind.GENERATOR, SourceKind.ASYNC_GENERATOR}:
        source = generator_function_of(source)
    if implementation is None:
        _check_constructible(service, "Pass its implementation as the second argument.")
    elif kind is SourceKind.CLASS:
        _check_constructible(source, "Implement the abstract methods.")
    if kind is SourceKind.INSTANCE and lifetime is not Lifetime.SINGLETON:
        msg = (
            f"{shown(service)} is registered as {lifetime} with an object; an object is always a singleton. "
            f"Use add_singleton({shown(service)}, ...), or pass a class or a factory."
        )
        raise ConfigurationError(msg)
    if kind.is_async and lifetime is Lifetime.TRANSIENT:
        msg = (
            f"{shown(service)} is transient with an {kind}; a transient service must be created without await. "
            f"Use add_scoped({shown(service)}, ...) or add_singleton."
        )
        raise ConfigurationError(msg)
    if kind in {SourceKind.GENERATOR, SourceKind.ASYNC_GENERATOR} and lifetime is Lifetime.TRANSIENT:
        msg = (
            f"{shown(service)} is transient with a {kind}, which would never be closed. "
            f"Use add_scoped({shown(service)}, ...), which closes it with the message."
        )
        raise ConfigurationError(msg)
    if not double:
        _check_fit(service, source, kind, names)
    return Registration(service, lifetime, kind, source, parameters_of(source, kind, names))


def _check_constructible(service: Any, fix: str) -> None:
    origin = get_origin(service) or service
    if not isinstance(origin, type):
        msg = f"{service!r} is not a class. Register a service by its class."
        raise ConfigurationError(msg)
    abstract: frozenset[str] = getattr(origin, "__abstractmethods__", frozenset())
    if getattr(origin, "_is_protocol", False) or abstract:
        why = f"{', '.join(sorted(abstract))} is abstract" if abstract else "it is a Protocol"
        msg = f"{shown(service)} cannot be instantiated: {why}. {fix}"
        raise ConfigurationError(msg)


def _check_fit(service: Any, source: Any, kind: SourceKind, names: Mapping[str, Any]) -> None:
    wanted = get_origin(service) or service
    if not isinstance(wanted, type):
        return
    found: Any = None
    if kind is SourceKind.CLASS:
        found = get_origin(source) or source
    elif kind is SourceKind.INSTANCE:
        found = class_of(source)
    elif kind is not SourceKind.PROVIDER:
        found = _product_of(source, kind, names)
    # `Any` is a class since Python 3.11, and says nothing.
    if not isinstance(found, type) or found is wanted or found is Any:
        return
    if not getattr(wanted, "_is_protocol", False):
        if not issubclass(found, wanted):
            msg = (
                f"{shown(found)} is registered as {shown(service)} and is not a subclass of it. "
                f"Derive it from {shown(service)}, or register an implementation."
            )
            raise ConfigurationError(msg)
        return
    missing = sorted(member for member in _members(wanted) if not _has(found, member))
    if missing:
        msg = (
            f"{shown(found)} is registered as {shown(service)}, but it has no {', '.join(missing)}. "
            f"Add the missing members, or register an implementation of {shown(service)}."
        )
        raise ConfigurationError(msg)


def _members(protocol: type[Any]) -> set[str]:
    members: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False):
            members.update(name for name in base.__dict__ if not name.startswith("_") and name != "_abc_impl")
    return members


def _has(cls: type[Any], member: str) -> bool:
    if hasattr(cls, member):
        return True
    return any(
        member in getattr(base, "__annotations__", {}) for base in cls.__mro__
    ) or "__getattr__" in dir(cls)


def _product_of(source: Callable[..., Any], kind: SourceKind, names: Mapping[str, Any]) -> Any:
    plain: Any = source
    if is_partial(plain):
        plain = plain.func
    try:
        returned = hints_of(plain, names).get("return")
    except (NameError, TypeError):
        return None
    if kind in {SourceKind.GENERATOR, SourceKind.ASYNC_GENERATOR}:
        returned = (get_args(returned) or (None,))[0]
    return get_origin(returned) or returned
