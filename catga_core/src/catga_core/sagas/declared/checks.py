"""Checks the parts of a declared saga as a whole."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from catga_core.descriptions import shown
from catga_core.messages import message_type
from catga_core.sagas.declared.filling import fields_of, unfilled
from catga_core.sagas.declared.parts import (
    ChildPart,
    ParallelPart,
    PublishPart,
    SagaPart,
    SequencePart,
    StepPart,
    WaitPart,
    WhenPart,
)


def leaves_of(parts: Iterable[SagaPart[Any]]) -> Iterator[SagaPart[Any]]:
    """Yield the parts that contain no other parts, in order."""
    for part in parts:
        match part:
            case ParallelPart():
                yield from leaves_of(part.branches)
            case SequencePart():
                yield from leaves_of(part.parts)
            case WhenPart():
                yield from leaves_of((*part.then, *part.otherwise))
            case _:
                yield part


def problems_of(parts: Sequence[SagaPart[Any]], data: Any) -> list[str]:
    """Return the problems of a saga's parts.

    Args:
        parts: The parts.
        data: The type of the saga's data.
    """
    leaves = list(leaves_of(parts))
    names = Counter(
        each.name for each in leaves if isinstance(each, StepPart | PublishPart | ChildPart | WaitPart)
    )
    problems = [
        f"{count} parts are named {name!r}. Give each a unique name, because results are looked up by it."
        for name, count in names.items()
        if count > 1
    ]
    keys: dict[Any, Any] = {}
    for part in leaves:
        if isinstance(part, StepPart):
            problems += _of_step(part, data)
        elif isinstance(part, PublishPart) and part.fills:
            problems += _of_fields(part.name, part.publishes, [data])
        elif isinstance(part, WaitPart):
            problems += _of_wait(part, data, keys)
    return problems


def result_of(parts: Sequence[SagaPart[Any]], returns: Any, result: Any) -> tuple[Any, list[str]]:
    """Return the type of a saga's result, and the problems of its declaration.

    Args:
        parts: The saga's parts.
        returns: A function, the name of a step, or `None`.
        result: The declared type, `None` without one.
    """
    if returns is None:
        wrong = "result= has no effect without returns=. Pass returns=, a function or the name of a step."
        return None, [] if result is None else [wrong]
    problems: list[str] = []
    if isinstance(returns, str):
        # A step that runs on a condition may have no result.
        found = next((each for each in _always(parts) if getattr(each, "name", None) == returns), None)
        if found is None:
            problems.append(
                f"returns={returns!r} names no step that runs in every case. Pass the name of such a step, or a function."
            )
        result = _result_of_part(found) if result is None else result
    elif not callable(returns) or inspect.iscoroutinefunction(returns):
        problems.append(
            f"returns must be a plain function or the name of a step; got {returns!r}. Pass one of these."
        )
    if result is None and not problems:
        problems.append(
            "result= is missing: the type of the value of returns=, which is needed to store it. Pass it."
        )
    return result, problems


def _result_of_part(part: SagaPart[Any] | None) -> Any:
    if isinstance(part, StepPart):
        return None if part.sends is None else message_type(part.sends).result
    return part.event if isinstance(part, WaitPart) else None


def _always(parts: Iterable[SagaPart[Any]]) -> Iterator[SagaPart[Any]]:
    """Yield the unconditional parts."""
    for part in parts:
        match part:
            case ParallelPart():
                yield from _always(part.branches)
            case SequencePart():
                yield from _always(part.parts)
            case WhenPart():
                pass
            case _:
                yield part


def _of_step(part: StepPart[Any], data: Any) -> Iterator[str]:
    if part.fills:
        yield from _of_fields(part.name, part.sends, [data])
    # Of a command that a function returns, the fields are known where the function declares its class.
    if part.fills_undo and part.sends is not None:
        yield from _of_fields(part.name, part.undoes, [message_type(part.sends).result, part.sends, data])


def _of_fields(name: str, cls: Any, sources: Sequence[Any]) -> Iterator[str]:
    missing = unfilled(cls, sources)
    if missing:
        given = ", ".join(shown(each) for each in sources if each is not None)
        yield (
            f"{name!r} cannot fill {cls.__name__}: {', '.join(missing)} of it is not a field of {given}. Pass a function that returns "
            f"the {cls.__name__}, given the values."
        )


def _of_wait(part: WaitPart[Any], data: Any, keys: dict[Any, Any]) -> Iterator[str]:
    if part.key_field is not None and part.key_field not in fields_of(data):
        yield (
            f"wait_for({part.event.__name__}): {shown(data)} has no field {part.key_field!r}. Pass key=, a field of the data or a "
            "function."
        )
    known = keys.setdefault(part.event, part)
    same = known.event_key == part.event_key or (
        known.event_field is not None and known.event_field == part.event_field
    )
    if not same:
        yield f"{part.event.__name__} is waited for with two functions for event_key=. Pass the same one to both wait_for(...)."
