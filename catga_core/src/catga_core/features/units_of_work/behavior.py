"""Handles a message in a unit of work, which a failure rolls back."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from catga_core.errors import CatgaError
from catga_core.interfaces.storage import Storage
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.stage import Stage


class UnitOfWorkBehavior(Behavior[Any, Any]):
    """Runs the rest of the pipeline in a unit of work; a failed result or a cancellation rolls it back.

    Inside another unit of work it is a savepoint of that one: a failure rolls back this part alone.

    Args:
        storage: The container's storage.
    """

    stage: ClassVar[Stage] = Stage.UNIT_OF_WORK

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return the result of the rest of the pipeline once it is committed."""
        return await in_unit_of_work(self._storage, functools.partial(next, message))


async def in_unit_of_work(
    storage: Storage, work: Callable[[], Awaitable[CatgaResult[Any]]]
) -> CatgaResult[Any]:
    """Run work in a unit of work; a failed result rolls it back.

    Args:
        storage: The storage.
        work: Returns a result.

    Returns:
        The result of the work.

    Raises:
        CatgaError: The commit failed.
    """
    result: CatgaResult[Any] | None = None
    try:
        async with storage.unit_of_work():
            result = await work()
            if isinstance(result, Failure):
                # An exception rolls back.
                raise result.error
            return result
    except CatgaError as error:
        if isinstance(result, Failure) and result.error is error:
            return result
        raise
