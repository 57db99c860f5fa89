"""`@ordered_by`: the order in which events are sent and handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from catga_core.descriptions import with_place
from catga_core.errors import DeclarationError, InternalError
from catga_core.messages.types import Event
from catga_core.option_checks import is_text

E = TypeVar("E", bound=Event)

_MARK = "__catga_ordered_by__"


def ordered_by(key: Callable[[Any], str] | None) -> Callable[[type[E]], type[E]]:
    """Send and handle events with equal keys in the order of their commits, whatever their class.

    A handler with a queue handles the events of one key one after the other, in whichever process. Without the decorator
    handlers have no order; the outbox sends the events of one correlation id in order, and so those that one unit of work
    publishes outside of any message. Derived classes inherit the key.

    Args:
        key: Returns the key, not empty, such as `lambda event: event.order_id`; `None` for no order, so that no event
            waits for another one that cannot be sent.

    Returns:
        A class decorator.

    Raises:
        DeclarationError: The class is not an event, or `key` is not a function.
    """

    # `Any` in the key: a type checker sees the lambda before the class that it will be given objects of.
    def mark(cls: type[E]) -> type[E]:
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Event)):
            msg = (
                f"@ordered_by requires an event class; got {_placed(given)}. "
                "Derive the class from Event, or remove the decorator."
            )
            raise DeclarationError(msg)
        function: object = key  # a caller without a type checker may give anything
        if function is not None and not callable(function):
            msg = f"{_placed(cls)}: key of @ordered_by must be a function of the event; got {key!r}. Pass a lambda."
            raise DeclarationError(msg)
        setattr(cls, _MARK, key)
        return cls

    return mark


def _placed(cls: Any) -> str:
    return with_place(getattr(cls, "__name__", repr(cls)), cls)


def key_of(event: Event, conversation: str) -> str | None:
    """Return the ordering key of an event, `None` for no order.

    Args:
        event: The event.
        conversation: The key of a class without `@ordered_by`.

    Raises:
        InternalError: The key function returned something else than a non-empty str.
    """
    choose: Any = getattr(type(event), _MARK, _by_conversation)
    if choose is _by_conversation:
        return conversation
    if choose is None:
        return None
    key: object = choose(event)
    if isinstance(key, str) and key and is_text(key):
        return key
    text = (
        f"The key of {type(event).__name__} must be a non-empty str; got {key!r}. "
        "Fix the function given to @ordered_by(...)."
    )
    raise InternalError(text)


def handling_key(event: Event) -> str | None:
    """Return the key by which an event is handled in order, `None` for no order.

    Args:
        event: The event.

    Raises:
        InternalError: The key function returned something else than a non-empty str.
    """
    return None if getattr(type(event), _MARK, None) is None else key_of(event, "")


def _by_conversation(_event: Event) -> str:
    raise NotImplementedError
