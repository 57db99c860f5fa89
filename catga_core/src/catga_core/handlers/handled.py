"""Which messages a handler handles, by the annotation that names them."""

from __future__ import annotations

import types
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from catga_core.handlers.hints import shown
from catga_core.messages import Event, Message, MessageKind, MessageType, message_type

_UNIONS = {Union, types.UnionType}


def handled_by(annotation: Any) -> tuple[MessageType, ...]:
    """Return the messages that an annotation names: one for a class, several for a union.

    Args:
        annotation: A message class, `Event` for all events, or a union of message classes of one kind.

    Raises:
        TypeError: It names something else; the text says what, and how to fix it.
    """
    found = tuple(dict.fromkeys(_described(each) for each in members_of(annotation)))
    kinds = {each.kind for each in found}
    if len(kinds) > 1:
        named = " and ".join(f"{each.cls.__name__}, {with_article(each.kind)}" for each in found)
        msg = f"a union must be of one kind of message; got {named}. Write one handler for each kind."
        raise TypeError(msg)
    return found


def members_of(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, also of nested ones; any other annotation is its only member."""
    if get_origin(annotation) is Annotated:
        return members_of(get_args(annotation)[0])
    if get_origin(annotation) in _UNIONS:
        return tuple(member for each in get_args(annotation) for member in members_of(each))
    return (annotation,)


def with_article(kind: MessageKind) -> str:
    """Return `a command`, `an event` and so on."""
    return f"an {kind}" if kind is MessageKind.EVENT else f"a {kind}"


def _argument(given: Any) -> str:
    return given.__name__ if isinstance(given, TypeVar) else shown(given)


def _described(annotation: Any) -> MessageType:
    if annotation is Event:
        return MessageType(Event, "Event", 1, MessageKind.EVENT, None)
    if isinstance(annotation, TypeVar):
        msg = (
            f"the type variable {annotation} is left open. Derive a class that says which message it is for, and "
            "register that class"
        )
        raise TypeError(msg)
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Message):
        chosen = ["YourType" if isinstance(each, TypeVar) else shown(each) for each in get_args(annotation)]
        named = f"{origin.__name__}[{', '.join(chosen)}]"
        given = f"{origin.__name__}[{', '.join(_argument(each) for each in get_args(annotation))}]"
        msg = (
            f"{given} is a generic message with its type in brackets, and a message that arrives does not say "
            f"what stood there. Derive a class, class My{origin.__name__}({named}), send and handle that one"
        )
        raise TypeError(msg)
    if not isinstance(annotation, type):
        msg = f"{shown(annotation)} is not a message: derive it from Command[R], Query[R], StreamQuery[T] or Event"
        raise TypeError(msg)
    return message_type(annotation)
