"""`gather`: runs branches of a saga at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any

from catga_core.runtime.tasks import background_task
from catga_core.sagas.branches import Branch, Group, current_branch
from catga_core.sagas.execution import Execution
from catga_core.sagas.stops import BranchStop, SagaStop


async def gather(execution: Execution, works: Sequence[Awaitable[Any]], *, cancel: bool) -> list[Any]:
    """Run branches concurrently; return their results in order.

    Args:
        execution: The run.
        works: The branches.
        cancel: Whether the running steps of other branches are cancelled when a branch fails.

    Raises:
        Exception: The error of the first branch that failed.
    """
    if not works:
        return []
    parent = execution.here()
    parent.begin("gather")
    number, parent.gathers = parent.gathers, parent.gathers + 1
    group = Group(len(works), cancels=cancel)
    tasks: list[asyncio.Task[Any]] = []
    execution.rest.running += len(works) - 1
    for index, work in enumerate(works):
        branch = execution.history.branch(f"{parent.path}{number}.{index}/", parent, group)
        context = copy_context()
        context.run(current_branch.set, branch)
        running = _branch(execution, work, branch, group, tasks if cancel else None)
        tasks.append(background_task(running, context=context))
    execution.tasks.update(tasks)
    try:
        await _all_ended(tasks)
    finally:
        execution.tasks.difference_update(tasks)
        parent.busy = None
        _forget_unbegun(execution, works, group)
    return _results(execution, tasks)


async def _branch(
    execution: Execution,
    work: Awaitable[Any],
    branch: Branch,
    group: Group,
    siblings: list[asyncio.Task[Any]] | None,
) -> Any:
    try:
        return await work
    except BaseException as error:
        group.fail(branch)
        execution.rest.wake_failed()
        # The remaining recorded operations of the others happened earlier; their compensation needs them.
        if siblings is not None and isinstance(error, Exception) and not execution.history.left:
            for each in siblings:
                if each is not asyncio.current_task():
                    each.cancel()
        raise
    finally:
        group.left -= 1
        # The last one lets the code around it go on.
        execution.rest.running -= 1 if group.left else 0
        execution.rest.look()


def _forget_unbegun(execution: Execution, works: Sequence[Awaitable[Any]], group: Group) -> None:
    """Forget the branches that were cancelled before they began."""
    execution.rest.running -= max(0, group.left - 1)
    if group.left:
        for each in works:
            if isinstance(each, Coroutine):
                each.close()


def _results(execution: Execution, tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    errors = [error for each in tasks if not each.cancelled() and (error := each.exception()) is not None]
    if execution.reason is not None and any(isinstance(each, SagaStop) for each in errors):
        raise SagaStop
    for error in errors:
        if not isinstance(error, BranchStop):
            raise error
    if errors:
        raise BranchStop
    for each in tasks:
        # Cancelled from outside, or after a sibling's failure, which was raised above.
        each.result()
    return [each.result() for each in tasks]


async def _all_ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for every branch; cancel all if the surrounding code is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not all(each.done() for each in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
            for each in tasks:
                each.cancel()
    if cancelled is not None:
        raise cancelled
