"""Error texts of duplicate handlers and duplicate message names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from catga_core.handlers import HandlerDefinition
from catga_core.handlers.hints import with_place
from catga_core.messages import Message, MessageType, message_type
from catga_core.messages.encodable import codec_problems
from catga_core.messages.registry_texts import two_classes


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
            problems.append(two_classes(described.name, described.version, other, cls))
    return problems


def undecodable(handlers: Iterable[HandlerDefinition]) -> list[str]:
    """Return an error text for each field of a handled message, or of its result, that cannot be encoded and decoded."""
    described = dict.fromkeys(each.message_type for each in handlers)
    return [*dict.fromkeys(text for each in described for text in codec_problems(each))]
