"""What several features check of a composition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from catga_core.feature import Graph, Problem
from catga_core.interfaces.storage import Storage
from catga_core.messages import Message, MessageKind, MessageType


def other_storage(graph: Graph, option: str, what: str, port: Any) -> Iterator[Problem]:
    """Yield the problem of a store that cannot join the container's units of work.

    Args:
        graph: The composition.
        option: The option that asks for the store.
        what: What is kept there.
        port: The store's port.
    """
    if graph.same_storage(port, Storage) is False:
        yield Problem(
            f"{option}: {what} is kept in {graph.storage_of(port)}, but units of work are those of "
            f"{graph.storage_of(Storage)}, so the two cannot be written in one transaction. Take both from one storage."
        )


def duplicate_names(graph: Graph, what: str) -> Iterator[Problem]:
    """Yield a problem for each two handlers of one event with one name.

    Args:
        graph: The composition.
        what: What knows a handler by its name.
    """
    seen: set[tuple[type[Message], str]] = set()
    for handler in graph.handlers:
        described, name = handler.message_type, handler.name
        if described.kind is MessageKind.EVENT and (described.cls, name) in seen:
            yield Problem(
                f"{described.cls.__name__} has two handlers named {name}, but {what} identifies a handler by its name. "
                "Rename one of them."
            )
        seen.add((described.cls, name))


def without_message_id(messages: Iterable[MessageType], what: str) -> Iterator[Problem]:
    """Yield a problem for each message type without a context that has to be identified by its message id.

    Args:
        messages: Those that are identified.
        what: What identifies them.
    """
    for described in dict.fromkeys(messages):
        if not described.context:
            yield Problem(
                f"{what} identifies {described.name} by its message id, but {described.name} is declared with "
                "@message(context=False) and has none. Remove context=False."
            )
