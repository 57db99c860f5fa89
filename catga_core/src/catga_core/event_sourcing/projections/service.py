"""`Projections`: what an application asks of its projections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import Directory, FollowerPorts
from catga_core.event_sourcing.projections.generations import Generation
from catga_core.event_sourcing.projections.worker import ProjectionWorker

T = TypeVar("T")

_LOOK_SECONDS = 0.05
_READS = 10  # switches that a reader may meet one after the other


class Projections(Directory[ProjectionWorker]):
    """The projections of a container: ask for it in a constructor, or with `app.get(Projections)`.

    Parameters:
        ports: what they use.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, ports: FollowerPorts) -> None:
        super().__init__("projection", ports)

    async def target(self, name: str) -> str:
        """Return the name of what is to be read: of the table, or the prefix, as `current_projection().target` tells it.

        In a unit of work of a storage that reads as of one moment, what is read with it is all old or all new. Elsewhere,
        `read` makes sure of that.

        Parameters:
            name: which projection.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name.
        """
        return await self.worker(name).target()

    async def read(self, name: str, query: Callable[[str], Awaitable[T]]) -> T:
        """Return what a query reads, all of it from one generation: a switch in the middle has the query done again.

        Parameters:
            name: which projection.
            query: given the target; only reads. What it raises because its target went away meanwhile is not raised.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name; `CONFLICT` when it is switched again and again.
        """
        worker = self.worker(name)
        for _ in range(_READS):
            target = await worker.target()
            try:
                found = await query(target)
            except Exception:
                if await worker.target() == target:
                    raise
                continue
            if await worker.target() == target:
                return found
        msg = f"the projection {name!r} was switched {_READS} times while it was read: read it again"
        raise CatgaError(msg, code=ErrorCode.CONFLICT)

    async def rebuild(self, name: str, *, wait: float | None = None) -> str:
        """Have a projection built anew from the first event on, beside the one that is read, and then read instead.

        It goes on by itself, also when this process ends: any process that has the projection takes over. The old target
        is removed in the unit of work of the switch. Asked for again meanwhile, it joins what is under way.

        Parameters:
            name: which projection; it needs `reset`.
            wait: real seconds to wait for the switch; `None` returns at once.

        Returns:
            the target that is read after the switch.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when there is none of that name; `VALIDATION_FAILED` when it cannot be rebuilt;
                `TIMEOUT` when it was not switched in time (it goes on).
        """
        worker = self.worker(name)
        generation = await worker.rebuild()
        target = generation.target(name)
        if wait is not None:
            await self._switched(worker, generation, wait)
        return target

    async def _switched(self, worker: ProjectionWorker, wanted: Generation, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while True:
            active = await worker.generations.active()
            if active is not None and active >= wanted:
                return
            if loop.time() >= ends_at:
                text = worker.health().details.get("rebuild", "not begun")
                msg = f"the rebuild of {worker.name!r} was not done within {seconds:g} s, and goes on: {text}"
                raise CatgaError(msg, code=ErrorCode.TIMEOUT)
            await asyncio.sleep(min(_LOOK_SECONDS, max(0.0, ends_at - loop.time())))
