"""The outline of a declared saga."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from catga_core.messages import message_type
from catga_core.sagas.declared.definition import SagaDefinition, saga_of
from catga_core.sagas.declared.parts import (
    ChildPart,
    ParallelPart,
    PublishPart,
    SagaPart,
    SequencePart,
    SleepPart,
    StepPart,
    WaitPart,
    WhenPart,
)
from catga_core.sagas.drawing.outline import Choice, Flow, Node, Parallel, Task


def outline_of_definition(definition: SagaDefinition[Any, Any]) -> Flow:
    """Return the outline of a declared saga."""
    return _flow(definition.parts)


def _flow(parts: Iterable[SagaPart[Any]]) -> Flow:
    found: list[Node] = []
    for part in parts:
        match part:
            case SequencePart():
                found.extend(_flow(part.parts))
            case ParallelPart():
                found.append(Parallel([_flow([each]) for each in part.branches]))
            case WhenPart():
                found.append(Choice(_named(part.condition), _flow(part.then), _flow(part.otherwise)))
            case _:
                found.append(_task(part))
    return found


def _task(part: SagaPart[Any]) -> Task:
    match part:
        case StepPart():
            undo = None
            if part.undo is not None:
                undo = f"undo {part.name}" if part.undoes is None else part.undoes.__name__
            label = part.name if part.sends is None else f"{part.name}: {part.sends.__name__}"
            return Task("step", label, re.escape(part.name), undo)
        case PublishPart():
            label = part.name if part.publishes is None else f"{part.name}: {part.publishes.__name__}"
            return Task("step", label, re.escape(part.name))
        case ChildPart():
            cls, _ = saga_of(part.saga)
            undo = f"undo {part.name}" if part.compensate else None
            return Task("child", f"{part.name}: {cls.__name__}", re.escape(part.name), undo)
        case WaitPart():
            return Task("wait", part.event.__name__, rf"event:{re.escape(message_type(part.event).name)}:.*")
        case SleepPart():
            known = part.seconds is not None and not callable(part.seconds)
            return Task("sleep", f"{part.seconds} s" if known else "computed")
        case _:
            return Task("commit point", "commit point")


def _named(condition: Any) -> str:
    name: str = getattr(condition, "__name__", "condition")
    return "condition" if name == "<lambda>" else name
