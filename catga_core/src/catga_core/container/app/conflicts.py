"""Error texts of duplicate handlers and duplicate message names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from catga_core.handlers.hints import with_place
from catga_core.messages import Message, MessageType, message_type


def two_handlers(described: MessageType, first: Any, second: Any) -> str:
    """Return the error text of a second handler for a request or stream query."""
    names = " and ".join(with_place(each.__name__, each) for each in (first, second))
    if first is second:
        return f"{with_place(first.__name__, first)} is already registered for {described.name}. Remove the duplicate."
    return (
        f"{described.name} has two handlers, {names}; a request has exactly one. Remove one of them, or derive the message "
        "from Event."
    )


def shared_names(classes: Iterable[type[Message]]) -> list[str]:
    """Return an error text for each pair of message classes with the same name and version."""
    seen: dict[tuple[str, int], type[Message]] = {}
    problems: list[str] = []
    for cls in dict.fromkeys(classes):
        described = message_type(cls)
        other = seen.setdefault((described.name, described.version), cls)
        if other is not cls:
            problems.append(
                f"{with_place(other.__qualname__, other)} and {with_place(cls.__qualname__, cls)} have the same wire name "
                f"{described}. Rename one of them with @message(name=...)."
            )
    return problems
