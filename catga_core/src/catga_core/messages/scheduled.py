"""`ScheduledId`: the id of an enqueued command."""

from __future__ import annotations

from typing import Any, NewType

from catga_core.messages.types import MessageKind, message_type

ScheduledId = NewType("ScheduledId", str)
"""The id of an enqueued command: its wire name, a colon and its message id. It may be stored as text."""


def scheduled_id(command: type[Any], message_id: str) -> ScheduledId:
    """Return the id under which a command was enqueued with a message id of your own.

    Args:
        command: The command's class.
        message_id: As given to `enqueue`.

    Raises:
        TypeError: The class is not a command.
    """
    described = message_type(command)
    if described.kind is not MessageKind.COMMAND:
        msg = f"scheduled_id() requires a command class; got the {described.kind} {command.__name__}."
        raise TypeError(msg)
    return scheduled_as(described.name, message_id)


def scheduled_as(name: str, message_id: str) -> ScheduledId:
    """Return the id of a command by its wire name and its message id."""
    return ScheduledId(f"{name}:{message_id}")


def parts_of(scheduled: str) -> tuple[str, str]:
    """Return the wire name and the message id in an id.

    Raises:
        ValueError: It is not an id that `enqueue` returned.
    """
    given: object = scheduled
    name, _, message_id = given.partition(":") if isinstance(given, str) else ("", "", "")
    if not (name and message_id):
        msg = f"A ScheduledId is '<command>:<message id>'; got {scheduled!r}. Pass what enqueue() returned."
        raise ValueError(msg)
    return name, message_id
