"""Handles a message in a unit of work: all it writes is committed, or nothing where it fails."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from catga_core.errors import CatgaError
from catga_core.interfaces.storage import Storage
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.behavior import Behavior, Next


class UnitOfWorkBehavior(Behavior[Any, Any]):
    """Puts a unit of work around the rest of the pipeline; a failed result rolls it back, as does a cancellation.

    Inside another unit of work it joins that one. What failed there cannot be taken back alone, so the whole is then
    rolled back, and its commit says so.

    Parameters:
        storage: the container's storage.
    """

    order: ClassVar[int] = -50
    uses_context: ClassVar[bool] = True

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return what the rest of the pipeline gives, once it is committed."""
        return await in_unit_of_work(self._storage, functools.partial(next, message))


async def in_unit_of_work(
    storage: Storage, work: Callable[[], Awaitable[CatgaResult[Any]]]
) -> CatgaResult[Any]:
    """Do a piece of work in a unit of work and return its result; a failed one rolls it back.

    Parameters:
        storage: where.
        work: gives a result.

    Raises:
        CatgaError: when the commit fails.
    """
    result: CatgaResult[Any] | None = None
    try:
        async with storage.unit_of_work():
            result = await work()
            if isinstance(result, Failure):
                # Raised, because that is what rolls back; a unit of work it has joined tells it as its cause.
                raise result.error
            return result
    except CatgaError as error:
        if isinstance(result, Failure) and result.error is error:
            return result
        raise
