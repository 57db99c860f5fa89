"""`saga_graph` and `saga_diff`: draw a saga, and compare two versions of it."""

from __future__ import annotations

from difflib import ndiff
from typing import Any

from catga_core.sagas.declared.definition import SagaDefinition
from catga_core.sagas.drawing.definitions import outline_of_definition
from catga_core.sagas.drawing.mermaid import mermaid
from catga_core.sagas.drawing.outline import Flow, lines_of
from catga_core.sagas.drawing.progress import progress_of
from catga_core.sagas.drawing.reading import outline_of_class
from catga_core.sagas.results import SagaStatus
from catga_core.sagas.saga import Saga, mark_of


def saga_graph(
    saga: type[Saga[Any, Any]] | SagaDefinition[Any, Any], status: SagaStatus | None = None
) -> str:
    """Draw a saga as a Mermaid flowchart.

    The saga is not run. A class is drawn from the source of `execute`: steps, branches, conditions, loops, caught errors, waits and
    child sagas. Functions within `execute`, and methods that receive its context, are followed. A computed name is drawn as written,
    such as `book {what}`. Nothing else in Catga reads source. The source file is read once per class: in an event loop, call this with
    `asyncio.to_thread`.

    Args:
        saga: Its class or definition.
        status: The status of one saga, from `executor.status(id)`: its steps get the classes `done`, `current`, `remaining`, `failed` and
            `compensated`. `None` for a drawing without progress.

    Returns:
        The text of the flowchart.

    Raises:
        ConfigurationError: The source of the class cannot be read.
    """
    flow = _outline(saga)
    name = saga.name if isinstance(saga, SagaDefinition) else mark_of(saga).name or saga.__name__
    return mermaid(name, flow, {} if status is None else progress_of(flow, status))


def saga_diff(
    old: type[Saga[Any, Any]] | SagaDefinition[Any, Any], new: type[Saga[Any, Any]] | SagaDefinition[Any, Any]
) -> str:
    """Return a diff of the outlines of two versions of a saga.

    Args:
        old: The version that began a saga.
        new: The version that will resume it.

    Returns:
        The diff, with `-` and `+` before lines of one version; empty if the outlines are equal.

    Raises:
        ConfigurationError: The source of a class cannot be read.
    """
    before, after = list(lines_of(_outline(old))), list(lines_of(_outline(new)))
    if before == after:
        return ""
    found = (line.rstrip() for line in ndiff(before, after) if not line.startswith("?"))
    return "\n".join(found)


def _outline(saga: type[Saga[Any, Any]] | SagaDefinition[Any, Any]) -> Flow:
    return outline_of_definition(saga) if isinstance(saga, SagaDefinition) else outline_of_class(saga)
