"""`SagaType`: what is read once from the class of a saga."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from catga_core.codecs.annotations import readable
from catga_core.codecs.plan import plan_of
from catga_core.descriptions import shown, with_place
from catga_core.errors import ConfigurationError
from catga_core.handlers.calling import check_method
from catga_core.messages import Event, message_type, type_argument
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serializers import msgpack_serializer
from catga_core.sagas.saga import Saga, SagaMark, mark_of

JOURNAL_SERIALIZER = msgpack_serializer()
"""Journals are always msgpack, whatever the container's serializer is: they are read by Catga only."""


class SagaType(msgspec.Struct, frozen=True):
    """A class of sagas.

    Args:
        cls: The class.
        mark: What it declares.
        name: Its name in journals.
        data: The type of its data.
        result: The type of its result.
        encode_data: Encodes its data; raises `SerializationError`.
        decode_data: Decodes its data.
        encode_result: Encodes its result; raises `SerializationError`.
        decode_result: Decodes its result.
        compensates: Whether it has a `compensate` of its own.
        topics: The names of the events that it waits for, and their keys.
    """

    cls: type[Saga[Any, Any]]
    mark: SagaMark
    name: str
    data: Any
    result: Any
    encode_data: Callable[[Any], bytes]
    decode_data: Callable[[bytes], Any]
    encode_result: Callable[[Any], bytes]
    decode_result: Callable[[bytes], Any]
    compensates: bool
    topics: Mapping[type[Event], Callable[[Any], object]]

    @property
    def version(self) -> int:
        """The version of its code."""
        return self.mark.version


def saga_type(cls: Any, names: Mapping[str, Any]) -> SagaType:
    """Read a class of sagas.

    Args:
        cls: The class.
        names: What is in scope where it is registered.

    Raises:
        ConfigurationError: It is not a saga, or its data or its result cannot be stored.
    """
    given: object = cls
    if not (isinstance(given, type) and issubclass(given, Saga)):
        msg = f"add_sagas() takes classes that derive from Saga[Data, Result]; got {shown(cls)}. Derive it from Saga."
        raise ConfigurationError(msg)
    _check_methods(cls)
    mark = mark_of(cls)
    named = with_place(cls.__name__, cls)
    problems: list[str] = []
    types: list[Any] = []
    for index, what in enumerate(("data", "result")):
        found = type_argument(cls, Saga, index)
        if found is None or isinstance(found, TypeVar):
            problems.append(
                f"{named} does not declare the type of its {what}. Derive it from Saga[Data, Result], with two types."
            )
            continue
        found = readable(found, names)
        problems += [f"{named}, its {what}: {each}" for each in plan_of(found).problems]
        types.append(found)
    for event in mark.waits_for:
        waited: object = event
        if not (isinstance(waited, type) and issubclass(waited, Event)):
            problems.append(
                f"{named} waits for {shown(waited)}, which is not an event. Derive it from Event."
            )
    if problems:
        raise ConfigurationError(problems)
    data, result = types
    base: Any = Saga
    return SagaType(
        cls,
        mark,
        mark.name or cls.__name__,
        data,
        result,
        exact_encoder(JOURNAL_SERIALIZER, data),
        JOURNAL_SERIALIZER.decoder(data),
        exact_encoder(JOURNAL_SERIALIZER, result),
        JOURNAL_SERIALIZER.decoder(result),
        cls.compensate is not base.compensate,
        mark.waits_for,
    )


def _check_methods(cls: type[Any]) -> None:
    """Check that the methods of a saga can be called.

    Raises:
        ConfigurationError: `execute` is missing or is not asynchronous, or a method takes other arguments.
    """
    named = with_place(cls.__name__, cls)
    if inspect.isabstract(cls):
        msg = f"{named} has no execute. Write async def execute(self, data, saga)."
        raise ConfigurationError(msg)
    for method, arguments in (("execute", ("data", "saga")), ("compensate", ("data",))):
        check_method(cls, method, arguments)
        if not inspect.iscoroutinefunction(inspect.unwrap(getattr(cls, method))):
            msg = f"{named}.{method} is not a coroutine function. Write async def {method}(self, {', '.join(arguments)})."
            raise ConfigurationError(msg)


def topic_of(cls: type[Event], key: object) -> str:
    """Return the topic under which sagas wait for an event.

    Args:
        cls: The event's class.
        key: The event's key.
    """
    return f"event:{message_type(cls).name}:{key}"
