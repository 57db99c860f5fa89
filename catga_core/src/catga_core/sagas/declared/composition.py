"""Checks a declared saga against the container that it is added to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from catga_core.descriptions import with_module
from catga_core.feature import Graph, Problem
from catga_core.interfaces.transport import RequestTransport
from catga_core.sagas.declared.definition import SagaDefinition, saga_of


def graph_problems(
    definition: SagaDefinition[Any, Any], graph: Graph, knows: Callable[[Any], bool]
) -> Iterator[Problem]:
    """Yield the configuration errors of a definition.

    Args:
        definition: The definition.
        graph: The composition.
        knows: Returns whether the class of a saga is registered.
    """
    if not graph.is_provided(RequestTransport):
        handled = tuple({each.message_type.cls for each in graph.handlers})
        for command in definition.commands:
            if not issubclass(command, handled):
                yield Problem(
                    f"The saga {definition.name!r} sends {with_module(command)}, for which no handler is registered, and no transport "
                    "is configured. Register one with add_handlers(...), or add a transport."
                )
    for child in definition.children:
        cls, _ = saga_of(child)
        if not knows(cls):
            yield Problem(
                f"The saga {definition.name!r} runs the saga {with_module(cls)}, which is not registered. Add it with "
                "add_sagas(catga, ...)."
            )
