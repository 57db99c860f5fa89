"""A decorator with a wrong argument is a ConfigurationError that names the class with its file and line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest

from catga_core import Command, ConfigurationError, Event, add_catga, message
from catga_core.event_sourcing import upcaster
from catga_core.reliability import idempotent, ordered_by

T = TypeVar("T")


class Do(Command[int]):
    pass


class Done(Event):
    pass


class Packed(Command[int], array_like=True):
    pass


class Foreign:
    pass


def loose(decorator: Any) -> Any:
    """Return a decorator for a caller without a type checker."""
    return decorator


WRONG: list[tuple[Callable[[], Any], type[Any], str]] = [
    (lambda: loose(message)(name="bad name!")(Do), Do, "bad name!"),
    (lambda: loose(message)(name="")(Do), Do, "''"),
    (lambda: loose(message)(name=5)(Do), Do, "got 5"),
    (lambda: loose(message)(version=2)(Packed), Packed, "array_like"),
    (lambda: loose(idempotent)(key=5)(Do), Do, "got 5"),
    (lambda: loose(idempotent)(Done), Done, "requires a command class"),
    (lambda: loose(ordered_by)(5)(Done), Done, "got 5"),
    (lambda: loose(ordered_by)(None)(Do), Do, "requires an event class"),
]


@pytest.mark.parametrize(("declare", "cls", "text"), WRONG)
def test_wrong_declaration_names_class_and_place(
    declare: Callable[[], Any], cls: type[Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{cls.__name__} \(test_declarations\.py:\d+\)") as refused:
        declare()

    assert text in str(refused.value)
    assert isinstance(refused.value, TypeError)
    assert isinstance(refused.value, ValueError)


def test_message_decorator_on_another_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Foreign is not a message"):
        loose(message)(name="foreign")(Foreign)


@pytest.mark.parametrize(
    "given", [{"name": "bad!", "from_version": 1}, {"name": "a", "from_version": 2, "to_version": 1}]
)
def test_wrong_upcaster_is_a_configuration_error(given: Any) -> None:
    with pytest.raises(ConfigurationError):
        upcaster(**given)


class Gen(Event, Generic[T]):
    value: T


def test_generic_message_left_open_is_told_what_to_derive() -> None:
    async def handle(event: Gen[T]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Gen\[T\] is a generic .* class MyGen\(Gen\[YourType\]\)"):
        add_catga().add_handlers(handle)
