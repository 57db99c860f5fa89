"""Starts the handlers that come after one that waits, so that it does not hold them up."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeAlias

from catga_core.interfaces.endpoints import Delivered
from catga_core.messages.message_context import MessageContext
from catga_core.pipeline import Call

Entry: TypeAlias = tuple[Call, str, int]
"""A handler, its name, and its number among the event's handlers."""

Failed: TypeAlias = list[tuple[int, Delivered]]
"""The handlers that failed, each with its number."""

Task: TypeAlias = asyncio.Task[tuple[int, Delivered] | None]
"""Runs one handler; gives its failure."""

Run: TypeAlias = Callable[
    [Entry, Any, MessageContext | None], Coroutine[Any, Any, tuple[int, Delivered] | None]
]
"""Runs one handler for an event and its context; gives its failure."""

Suspended: TypeAlias = tuple[Run, Any, MessageContext | None, Context]
"""How the rest of a delivery is run: for which event, in which context, with the publisher's context variables."""


class Overlap:
    """Knows the deliveries under way, and starts the rest of each when the event loop gets control before its end.

    A delivery goes through an iterator over its handlers, one after the other. The loop only gets control while one of
    them waits: then those that are left in the iterator are started, each in a task of its own. One callback of the
    loop serves all deliveries of a turn, and a delivery in which no handler waits costs neither a task nor a callback
    (docs/benchmarks.md).

    Attributes:
        pending: By iterator, how the rest is run, or the tasks that run it.
        scheduled: Whether the loop's callback is due.
    """

    __slots__ = ("pending", "scheduled")

    def __init__(self) -> None:
        self.pending: dict[Iterator[Entry], Suspended | list[Task]] = {}
        self.scheduled: bool = False

    def schedule(self) -> None:
        """Have the loop start what is pending when it next gets control."""
        self.scheduled = True
        asyncio.get_running_loop().call_soon(self._start)

    def reset(self) -> None:
        """Forget the callback of a loop that may have ended."""
        self.scheduled = False

    def _start(self) -> None:
        self.scheduled = False
        loop = asyncio.get_running_loop()
        for rest, found in self.pending.items():
            if isinstance(found, tuple):
                run, event, context, variables = found
                # Each task copies the publisher's context variables. Not eager, whatever the loop's task factory: a
                # callback of the loop must not run handlers.
                self.pending[rest] = [
                    variables.run(_task, run(entry, event, context), loop) for entry in rest
                ]


def _task(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Task:
    return asyncio.Task(work, loop=loop)


async def ended(tasks: Sequence[Task], by_handler: Callable[[], bool]) -> Failed:
    """Wait for handlers that run in tasks, and return the failures; cancelled meanwhile, cancel them.

    Args:
        tasks: The tasks.
        by_handler: Whether an earlier handler of the delivery, and no one else, has cancelled the running task.
    """
    while waiting := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            if not by_handler():
                await cancelled(tasks)
                raise
    return [failed for task in tasks if (failed := task.result()) is not None]


_ended_early: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()


async def cancelled(tasks: Suspended | Sequence[Task]) -> None:
    """Cancel handlers that run in tasks, and return when they have ended; where none was started, do nothing."""
    if isinstance(tasks, tuple):
        return
    for task in tasks:
        _ended_early.add(task)
        task.cancel()
    # A publisher that is cancelled again leaves no handler running behind its back.
    while left := [task for task in tasks if not task.done()]:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left)


def cancelled_from_within(error: BaseException) -> bool:
    """Return whether a handler that runs in its own task has raised because it cancelled that task itself.

    Args:
        error: What it raised.
    """
    return isinstance(error, asyncio.CancelledError) and asyncio.current_task() not in _ended_early
