"""What may stand in for a service or a handler while an override lasts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_origin

from catga_core.container.app.assembly import Assembly
from catga_core.container.di.overrides import Override, Overriding
from catga_core.container.di.parameters import parameters_of
from catga_core.container.di.provider import ServiceProvider
from catga_core.container.di.registration import Lifetime, Registration, SourceKind
from catga_core.container.di.source_kinds import kind_of
from catga_core.container.di.sources import register_source
from catga_core.errors import ConfigurationError
from catga_core.handlers import define_handlers
from catga_core.handlers.bases import EventHandler, RequestHandler, StreamHandler
from catga_core.handlers.hints import class_of, shown, with_place
from catga_core.interfaces.transport import EventTransport, RequestTransport, StreamTransport, Transport
from catga_core.messages import Message, MessageType


def replaced_registration(service: Any, known: Registration | None, assembly: Assembly) -> Registration:
    """Return how what is to be overridden is made.

    Args:
        service: A registered type, a handler, behavior or validator.
        known: How it is made as a service, `None` where it is none.
        assembly: The handlers, behaviors and validators.

    Raises:
        ConfigurationError: When nothing is registered for it.
    """
    if known is not None:
        return known
    for root in assembly.declared():
        if root.service is service:
            return root
    if service in {Transport, RequestTransport, EventTransport, StreamTransport}:
        return Registration(service, Lifetime.SINGLETON, SourceKind.INSTANCE, None, ())
    if isinstance(service, type) and issubclass(service, Message):
        raise ConfigurationError(_message_text(service, assembly))
    msg = f"{shown(service)} cannot be overridden: it is not registered. Register it first."
    raise ConfigurationError(msg)


def replacement(
    replaced: Registration,
    implementation: Any,
    handled: Sequence[MessageType],
    names: Mapping[str, Any],
    *,
    instance: bool,
) -> Registration:
    """Return how what stands in is made.

    Args:
        replaced: How what it stands in for is made.
        implementation: A class, a factory, a provider or an object.
        handled: What a handler that is replaced handles, empty for any other service.
        names: What is in sight where it is overridden.
        instance: Whether the implementation is the object, whatever it looks like.

    Raises:
        ConfigurationError: When it cannot stand in.
    """
    key = replaced.service
    if handled:
        _check_handler(key, implementation, handled, names, instance=instance)
        if inspect.isfunction(implementation):
            # With its message first, as any other function handler.
            parameters = () if instance else parameters_of(implementation, SourceKind.FACTORY, names, skip=1)
            return Registration(
                key, Lifetime.TRANSIENT, SourceKind.FACTORY, implementation, parameters, skip=1
            )
    kind = SourceKind.INSTANCE if instance else kind_of(implementation)
    if handled and kind not in {SourceKind.CLASS, SourceKind.PROVIDER}:
        # Even a method or a mock: it makes no handler, it is one.
        kind = SourceKind.INSTANCE
    if kind is SourceKind.INSTANCE:
        # It is what it is, for every message.
        lifetime = Lifetime.TRANSIENT if replaced.lifetime is Lifetime.SCOPED else replaced.lifetime
        return Registration(key, lifetime, SourceKind.INSTANCE, implementation, ())
    # A test's double need not be derived from what it doubles, be it a class or an object.
    return register_source(key, implementation, replaced.lifetime, names, double=True)


def override_each(
    providers: Mapping[str, Any], override: Callable[[str, Any], Override], replacements: Mapping[str, Any]
) -> Overriding:
    """Replace several parts by their providers' names, all or none.

    Args:
        providers: The container's.
        override: Replaces one service.
        replacements: What stands in, by provider name.
    """
    overriding = Overriding()
    try:
        for name, implementation in replacements.items():
            found = providers.get(name)
            if found is None or isinstance(found, ServiceProvider):
                overriding.add(override(name, implementation).restore)
            else:
                # A provider that was put in by hand: dependency-injector knows how to override those.
                found.override(implementation)
                overriding.add(found.reset_last_overriding)
    except BaseException:
        overriding.restore()
        raise
    return overriding


def _check_handler(
    key: Any, implementation: Any, handled: Sequence[MessageType], names: Mapping[str, Any], *, instance: bool
) -> None:
    target = get_origin(implementation) or implementation
    if kind_of(target) is SourceKind.PROVIDER and not instance:
        return
    if not (isinstance(target, type) or inspect.isfunction(target)):
        cls = class_of(target)
        if not callable(getattr(target, "handle", None)):
            if callable(target):
                # A method, a mock: it is called with the message.
                return
            msg = (
                f"{cls.__name__} object {target!r} cannot override {key.__name__}: it is not a handler. "
                f"Pass a handler of {_or(handled)}: a class, a function or an object with a handle method."
            )
            raise ConfigurationError(msg)
        target = cls
    if _leaves_open(target):
        return
    found = [each.message_type for each in define_handlers(target, names)]
    if not {each.cls for each in handled} <= {each.cls for each in found}:
        msg = (
            f"{with_place(target.__name__, target)} cannot override {key.__name__}: "
            f"it handles {_or(found)}. Pass a handler of {_or(handled)}."
        )
        raise ConfigurationError(msg)


def _or(several: Sequence[MessageType]) -> str:
    return " | ".join(map(str, several))


def _leaves_open(target: Any) -> bool:
    """Tell whether a double says nothing of its message, and so is for the one of what it stands in for."""
    is_class = isinstance(target, type)
    if is_class and issubclass(target, (RequestHandler, EventHandler, StreamHandler)):
        return False
    function = getattr(target, "handle", None) if is_class else target
    if not inspect.isfunction(function):
        # A mock makes its methods when they are asked for.
        return is_class and (function is None or not hasattr(function, "__code__"))
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        return False
    parameters = list(inspect.signature(function).parameters.values())[1 if is_class else 0 :]
    return bool(parameters) and parameters[0].annotation is inspect.Parameter.empty


def _message_text(service: type[Message], assembly: Assembly) -> str:
    handlers = assembly.handlers_of(service)
    if not handlers:
        fix = "Register a handler first."
    elif len(handlers) == 1:
        fix = f"Override its handler: override({handlers[0]}, ...)."
    else:
        others = ", ".join(handlers[1:])
        fix = f"Override its handler: override({handlers[0]}, ...), or one of its other handlers: {others}."
    return f"{shown(service)} is a message, and only services and handlers can be overridden. {fix}"
