"""What is registered beside services: handlers, behaviors and validators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_origin

import msgspec

from catga_core.container.di.parameters import parameters_of
from catga_core.container.di.registration import Lifetime, Registration, SourceKind
from catga_core.container.di.sources import register_source
from catga_core.errors import ConfigurationError
from catga_core.handlers import HandlerDefinition, define_handlers
from catga_core.handlers.calling import check_method
from catga_core.handlers.handled import members_of
from catga_core.handlers.hints import class_of, shown, with_place
from catga_core.interfaces.validation import Validator
from catga_core.messages import Message, MessageType, type_argument
from catga_core.pipeline.behavior import Behavior
from catga_core.pipeline.stage import Stage


class HandlerEntry(msgspec.Struct, frozen=True):
    """One registered handler.

    Args:
        definition: What it handles.
        registration: How it is made; a function handler takes its message first.
        lifetime: As asked for, `None` to have the container choose.
    """

    definition: HandlerDefinition
    registration: Registration
    lifetime: Lifetime | None


class BehaviorEntry(msgspec.Struct, frozen=True):
    """One registered behavior.

    Args:
        registration: How it is made.
        stage: Its place in the pipeline.
        order: Lower is further outside, within its stage.
        applies_to: The message classes it is for, with those below them; `None` for every message.
        when: Asked once for each message type; `None` for always.
        lifetime: As asked for, `None` to have the container choose.
    """

    registration: Registration
    stage: Stage
    order: int
    applies_to: tuple[type[Any], ...] | None
    when: Callable[[MessageType], bool] | None
    lifetime: Lifetime | None

    def fits(self, described: MessageType) -> bool:
        """Whether it belongs into the pipeline of a message type."""
        if self.applies_to is not None and not issubclass(described.cls, self.applies_to):
            return False
        return self.when is None or self.when(described)


class ValidatorEntry(msgspec.Struct, frozen=True):
    """One registered validator.

    Args:
        registration: How it is made.
        applies_to: The message classes it is for, with those below them.
    """

    registration: Registration
    applies_to: tuple[type[Any], ...]


def handler_entries(target: Any, lifetime: Lifetime | None, names: Mapping[str, Any]) -> list[HandlerEntry]:
    """Describe a handler, once for each message class that it names.

    Raises:
        ConfigurationError: Naming the handler, the cause and the fix.
    """
    definitions = define_handlers(target, names)
    definition = definitions[0]
    if definition.is_class:
        registration = register_source(target, target, lifetime or Lifetime.TRANSIENT, names)
    else:
        if lifetime is not None:
            msg = f"{with_place(definition.name, target)} is a function, and functions have no lifetime. Remove lifetime=."
            raise ConfigurationError(msg)
        parameters = parameters_of(target, SourceKind.FACTORY, names, skip=1)
        registration = Registration(
            target, Lifetime.TRANSIENT, SourceKind.FACTORY, target, parameters, skip=1
        )
    return [HandlerEntry(each, registration, lifetime) for each in definitions]


def behavior_entry(
    behavior: Any,
    stage: Stage | None,
    order: int | None,
    when: Callable[[MessageType], bool] | None,
    lifetime: Lifetime | None,
    names: Mapping[str, Any],
) -> BehaviorEntry:
    """Describe a behavior given as a class or an object.

    Raises:
        ConfigurationError: When it is none.
    """
    cls = _class_of(behavior)
    if not _derives(cls, Behavior):
        msg = (
            f"{with_place(cls.__name__, cls)} is not a behavior. Derive it from Behavior[Message, Result] and "
            "implement async def handle(self, message, next)."
        )
        raise ConfigurationError(msg)
    check_method(cls, "handle", ("message", "next"))
    if isinstance(behavior, type):
        registration = register_source(behavior, behavior, lifetime or Lifetime.TRANSIENT, names)
    else:
        registration = Registration(behavior, Lifetime.SINGLETON, SourceKind.INSTANCE, behavior, ())
    chosen: object = getattr(cls, "stage", Stage.USER) if stage is None else stage
    if not isinstance(chosen, Stage) or chosen is Stage.HANDLER:
        places = ", ".join(f"Stage.{each.name}" for each in Stage if each is not Stage.HANDLER)
        msg = f"The stage of {with_place(cls.__name__, cls)} must be one of {places}; got {chosen!r}."
        raise ConfigurationError(msg)
    return BehaviorEntry(
        registration,
        chosen,
        getattr(cls, "order", 0) if order is None else order,
        _classes_of(cls, Behavior),
        when,
        lifetime,
    )


def validator_entry(validator: Any, names: Mapping[str, Any]) -> ValidatorEntry:
    """Describe a validator given as a class or an object.

    Raises:
        ConfigurationError: When it is none, or does not say for what.
    """
    cls = _class_of(validator)
    applies_to = _classes_of(cls, Validator) if _derives(cls, Validator) else None
    if applies_to is None:
        msg = f"{with_place(cls.__name__, cls)} does not name the message it validates. Derive it from Validator[YourMessage]."
        raise ConfigurationError(msg)
    check_method(cls, "validate", ("message",))
    if isinstance(validator, type):
        registration = register_source(validator, validator, Lifetime.TRANSIENT, names)
    else:
        registration = Registration(validator, Lifetime.SINGLETON, SourceKind.INSTANCE, validator, ())
    return ValidatorEntry(registration, applies_to)


def check_hosted(service: Any, implementation: Any) -> None:
    """Refuse what cannot be started and stopped.

    Args:
        service: The type it is asked for by.
        implementation: As given, `None` for the service itself.

    Raises:
        ConfigurationError: Naming what lacks them.
    """
    product: Any = implementation
    if implementation is None or (callable(implementation) and not isinstance(implementation, type)):
        # What a factory makes is only known by what it is registered as.
        product = service
    if not all(hasattr(product, each) for each in ("start", "stop")):
        named = product if isinstance(product, type) else class_of(product)
        msg = f"{shown(named)} is not a hosted service: it has no start or stop. Implement async def start(self) and async def stop(self)."
        raise ConfigurationError(msg)


def _class_of(given: Any) -> type[Any]:
    if isinstance(given, type):
        return given
    return class_of(given)


def _derives(cls: type[Any], base: type[Any]) -> bool:
    return issubclass(cls, base)


def _classes_of(cls: type[Any], base: type[Any]) -> tuple[type[Any], ...] | None:
    """Return the message classes that a behavior or validator is for, `None` for all."""
    argument = type_argument(cls, base, 0)
    found: list[type[Any]] = []
    for member in () if argument is None else members_of(argument):
        if member is Any or isinstance(member, TypeVar):
            return None
        target = get_origin(member) or member
        if not (isinstance(target, type) and issubclass(target, Message)):
            msg = (
                f"{with_place(cls.__name__, cls)} is for {shown(member)}, which is not a message. Use a class derived "
                "from Message."
            )
            raise ConfigurationError(msg)
        if target is Message:
            return None
        found.append(target)
    return tuple(found) or None
