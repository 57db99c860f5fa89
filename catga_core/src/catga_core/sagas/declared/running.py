"""Runs the parts of a declared saga."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from catga_core.sagas.declared.parts import (
    ChildPart,
    CommitPart,
    ParallelPart,
    PublishPart,
    SagaPart,
    SequencePart,
    SleepPart,
    StepPart,
    WaitPart,
    WhenPart,
)
from catga_core.sagas.declared.values import SagaValues

if TYPE_CHECKING:
    from catga_core.sagas.context import SagaContext


async def run_parts(parts: Iterable[SagaPart[Any]], saga: SagaContext, values: SagaValues[Any]) -> None:
    """Run parts in order.

    Args:
        parts: The parts.
        saga: Runs and records their steps.
        values: The data and results that parts read, and to which they add their results.

    Raises:
        Exception: The error of a step.
    """
    for part in parts:
        await _run(part, saga, values)


async def _run(part: SagaPart[Any], saga: SagaContext, values: SagaValues[Any]) -> None:
    match part:
        case ParallelPart():
            views = [values.branch() for _ in part.branches]
            works = [_run(each, saga, view) for each, view in zip(part.branches, views, strict=True)]
            await saga.gather(*works, on_failure=part.on_failure)
            for view in views:
                values.join(view)
        case SequencePart():
            await run_parts(part.parts, saga, values)
        case WhenPart():
            await run_parts(part.then if part.condition(values) else part.otherwise, saga, values)
        case _:
            await _run_leaf(part, saga, values)


async def _run_leaf(part: SagaPart[Any], saga: SagaContext, values: SagaValues[Any]) -> None:
    match part:
        case StepPart():
            await _step(part, saga, values)
        case PublishPart():
            await saga.publish(part.make(values), name=part.name)
        case ChildPart():
            child: Any = part.saga
            values.put(
                part.name, await saga.saga(part.name, child, part.data(values), compensate=part.compensate)
            )
        case WaitPart():
            event = await saga.wait_for(part.event, key=part.key(values), timeout=part.timeout)
            values.put(part.name, event)
        case SleepPart():
            seconds, until = part.seconds, part.until
            await saga.sleep(
                seconds(values) if callable(seconds) else seconds,
                until=None if until is None else until(values),
            )
        case CommitPart():
            await saga.commit_point()
        case _:
            raise TypeError(type(part).__name__)


async def _step(part: StepPart[Any], saga: SagaContext, values: SagaValues[Any]) -> None:
    command, undo = part.make(values), part.undo
    result = await saga.send(
        part.name,
        command,
        compensate=None if undo is None else lambda result: undo(result, command, values),
        retry=part.retry,
        timeout=part.timeout,
    )
    values.put(part.name, result)
