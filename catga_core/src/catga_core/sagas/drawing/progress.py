"""The progress of a saga by task, for drawings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from catga_core.interfaces.saga_records import SagaState
from catga_core.sagas.drawing.outline import (
    Attempt,
    End,
    Flow,
    Node,
    Parallel,
    Task,
    parts_of,
    tasks_of,
)
from catga_core.sagas.results import SagaStatus, SagaStep, StepState

_STEPS = {
    StepState.COMPLETED: "done",
    StepState.FAILED: "failed",
    StepState.COMPENSATED: "compensated",
    StepState.COMPENSATION_FAILED: "failed",
}
# The order of precedence for a task that has run several times.
_WEIGHT = {"failed": 3, "compensated": 2, "done": 1}
_GOES_ON = {SagaState.RUNNING, SagaState.WAITING}


def progress_of(flow: Flow, status: SagaStatus) -> dict[Task, str]:
    """Return the progress class of each task of a saga.

    The classes are `done`, `failed`, `compensated`, `current` and `remaining`; a task that is never run has none. Recorded operations
    are matched by name and order. A task with a computed name stands for every matching name.

    Args:
        flow: The saga's outline.
        status: The saga.
    """
    tasks = list(tasks_of(flow))
    places = {id(task): index for index, task in enumerate(tasks)}
    last: dict[str, int] = {}
    found: dict[Task, str] = {}
    for kind, name, branch, state in _recorded(status):
        fitting = [each for each in tasks if each.kind in kind and re.fullmatch(each.pattern or ".*", name)]
        after = last.get(branch, -1)
        free = [each for each in fitting if each not in found]
        ahead = [each for each in free if places[id(each)] > after]
        chosen = next(iter(ahead or free or fitting[-1:]), None)
        if chosen is None:
            continue
        last[branch] = places[id(chosen)]
        before = found.get(chosen)
        if before is None or state == "current" or _WEIGHT[state] >= _WEIGHT.get(before, 0):
            found[chosen] = state
    if status.state.is_final:
        return found
    if status.state in _GOES_ON and status.problem is None:
        for task in _frontier(flow, found):
            found.setdefault(task, "current")
    return {task: found.get(task, "remaining") for task in tasks}


def _recorded(status: SagaStatus) -> Iterator[tuple[Sequence[str], str, str, str]]:
    """Yield the recorded operations: the kinds of tasks that they may be of, name, branch, and class."""
    steps: dict[tuple[str, str], list[SagaStep]] = {}
    for step in status.steps:
        steps.setdefault((step.branch, step.name), []).append(step)
    ends = {each.branch: each for each in status.journal}
    for entry in status.journal:
        match entry.kind:
            case "step" | "failed step":
                state = _STEPS[steps[entry.branch, entry.name].pop(0).state]
                yield ("step", "child"), entry.name, entry.branch, state
            case "sleep" | "wait":
                waits = ends[entry.branch] is entry and status.state in _GOES_ON
                yield (entry.kind,), entry.name, entry.branch, "current" if waits else "done"
            case "commit point" | "compensation":
                yield (entry.kind,), entry.name, entry.branch, "done"
            case _:
                continue


def _frontier(flow: Flow, found: dict[Task, str]) -> list[Task]:
    """Return the tasks that a saga may be at."""
    last = max((index for index, node in enumerate(flow) if _begun(node, found)), default=-1)
    if last >= 0:
        within = _within(flow[last], found)
        if within is not None:
            return within
    return _first(flow[last + 1 :])


def _within(node: Node, found: dict[Task, str]) -> list[Task] | None:
    """Return the tasks within a node that a saga may be at, `None` where it has passed the node."""
    if isinstance(node, Task):
        return [node] if found.get(node) == "current" else None
    parts = parts_of(node)
    if not isinstance(node, Parallel):
        # Of a choice, a loop and a caught error, the part that has begun; where that has ended, what follows.
        parts = [part for part in parts if any(_begun(each, found) for each in part)]
    reached = [task for part in parts for task in _frontier(part, found)]
    return reached or None


def _first(flow: Flow) -> list[Task]:
    for node in flow:
        if isinstance(node, Task):
            return [node]
        parts = parts_of(node)[:1] if isinstance(node, Attempt) else parts_of(node)
        found = [task for part in parts for task in _first(part)]
        if found or isinstance(node, End):
            return found
    return []


def _begun(node: Node, found: dict[Task, str]) -> bool:
    return any(task in found for task in tasks_of([node]))
