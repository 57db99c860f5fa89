"""Whose task a handler runs in, where that is Catga's own: a handler that cancels it fails, and ends nothing else."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from catga_core.runtime.tasks import background_task

T = TypeVar("T")


class Deliverer(Protocol):
    """Handles messages in tasks of its own."""

    def cancelled_from_within(self, task: asyncio.Task[Any], /) -> bool:
        """Return whether a task that was cancelled is one of its own, which it has not cancelled."""
        ...


# Only looked at after a cancellation, which is rare: nothing is noted for each message or task.
_deliverers: weakref.WeakSet[Deliverer] = weakref.WeakSet()
_deliverers_lock = threading.Lock()
# By task of `delivering`, the task that waits for it and how often that was being cancelled before.
_owners: dict[asyncio.Task[Any], tuple[asyncio.Task[Any], int]] = {}


def add_deliverer(deliverer: Deliverer) -> None:
    """Have `cancelled_by_handler` ask a deliverer, as long as it exists."""
    with _deliverers_lock:
        _deliverers.add(deliverer)


async def delivering(work: Coroutine[Any, Any, T]) -> T:
    """Deliver messages in a task that may be cancelled by their handlers, and wait for its end.

    The caller's cancellation cancels it. For workers that must go on whatever a handler does.

    Args:
        work: Delivers one message or several.

    Raises:
        asyncio.CancelledError: The caller is cancelled, or, where it is not, a handler has cancelled the task and that did not
            become this handler's failure.
    """
    owner: Any = asyncio.current_task()
    task = background_task(work)
    _owners[task] = owner, owner.cancelling()
    try:
        return await task
    finally:
        del _owners[task]


def delivers_for(owner: asyncio.Task[Any]) -> bool:
    """Return whether the running task is `owner`, or delivers for it.

    Args:
        owner: A task.
    """
    task = asyncio.current_task()
    return task is owner or (task in _owners and _owners[task][0] is owner)


def cancelled_by_handler() -> bool:
    """Return whether a handler has cancelled the task that it runs in, and then withdraw that cancellation.

    That is known in the tasks of an `Intake`, which its drain alone cancels otherwise, and in those of `delivering`. Ask only
    around the whole handling of a message: an `asyncio.timeout` inside of it cancels the task as well.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling() or not _cancelled_from_within(task):
        return False
    while task.cancelling():
        task.uncancel()
    return True


def _cancelled_from_within(task: asyncio.Task[Any]) -> bool:
    owned = _owners.get(task)
    if owned is not None:
        owner, cancelled_before = owned
        return owner.cancelling() <= cancelled_before
    with _deliverers_lock:
        deliverers = tuple(_deliverers)
    return any(each.cancelled_from_within(task) for each in deliverers)
