"""What is there twice and may be there once: a request's handlers, a message's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from catga_core.handlers.hints import with_place
from catga_core.messages import Message, MessageType, message_type


def two_handlers(described: MessageType, first: Any, second: Any) -> str:
    """Return the text for a request or stream query that is given a second handler."""
    names = " and ".join(with_place(each.__name__, each) for each in (first, second))
    if first is second:
        return f"{with_place(first.__name__, first)} is registered twice for {described.name}: take one away"
    return (
        f"{described.name} has two handlers, {names}, and a request has exactly one: "
        "take one away, or make it an event"
    )


def shared_names(classes: Iterable[type[Message]]) -> list[str]:
    """Return a text for each two message classes that no other process could tell apart."""
    seen: dict[tuple[str, int], type[Message]] = {}
    problems: list[str] = []
    for cls in dict.fromkeys(classes):
        described = message_type(cls)
        other = seen.setdefault((described.name, described.version), cls)
        if other is not cls:
            problems.append(
                f"{with_place(other.__qualname__, other)} and {with_place(cls.__qualname__, cls)} are both called "
                f"{described} on the wire: give one of them another name with @message(name=...)"
            )
    return problems
