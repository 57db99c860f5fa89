"""`@ordered_by`: which events of the outbox are sent in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from catga_core.errors import InternalError
from catga_core.messages import Event

E = TypeVar("E", bound=Event)

_MARK = "__catga_ordered_by__"


def ordered_by(key: Callable[[Any], str] | None) -> Callable[[type[E]], type[E]]:
    """Say which events of a class, and of other classes with equal keys, leave the outbox in the order of their commits.

    Without it the events of one conversation (of one correlation id) are sent in order, and so are those that one unit of
    work publishes outside of any message. It holds for the classes derived from it too.

    Parameters:
        key: gives the key, not empty, such as `lambda event: event.order_id`; `None` for no order at all, so that no event
            waits for another that cannot be sent.

    Raises:
        TypeError: for what is no event.
    """

    # `Any` in the key: a type checker sees the lambda before the class that it will be given objects of.
    def mark(cls: type[E]) -> type[E]:
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Event)):
            msg = f"{getattr(given, '__name__', given)} is no event: only events wait in the outbox"
            raise TypeError(msg)
        setattr(cls, _MARK, key)
        return cls

    return mark


def key_of(event: Event, conversation: str) -> str | None:
    """Return what an event is ordered by, `None` for no order.

    Parameters:
        event: the event.
        conversation: what it is ordered by where its class says nothing.

    Raises:
        CatgaError: `INTERNAL_ERROR` when the class's function gives no text.
    """
    choose: Any = getattr(type(event), _MARK, _by_conversation)
    if choose is _by_conversation:
        return conversation
    if choose is None:
        return None
    key: object = choose(event)
    if isinstance(key, str) and key:
        return key
    text = (
        f"the key of {type(event).__name__} is {key!r}: the function given to @ordered_by(...) has to return a text "
        "that is not empty"
    )
    raise InternalError(text)


def _by_conversation(_event: Event) -> str:
    raise NotImplementedError
