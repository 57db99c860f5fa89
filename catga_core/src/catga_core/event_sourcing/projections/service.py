"""`Projections`: what an application calls for its projections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import ConsumerPorts, ConsumerState, Directory
from catga_core.event_sourcing.projections.generations import Generation
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.option_checks import check_seconds
from catga_core.runtime.waiter import poll_until

T = TypeVar("T")

_LOOK_SECONDS = 0.05  # between two looks whether another process has switched
_READS = 10  # switches that a reader may meet one after the other


class Projections(Directory[ProjectionWorker]):
    """The projections of a container: take it in a constructor, or use `app.projections`.

    Args:
        ports: What they use.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, ports: ConsumerPorts) -> None:
        super().__init__("projection", ports)

    async def target(self, name: str) -> str:
        """Return the target to read: the name of a table or a prefix, as `current_projection().target` returned it.

        In a unit of work of a storage with snapshot reads, all reads are from one generation. Elsewhere, use `read`.

        Args:
            name: The projection.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name.
        """
        return await self.worker(name).target()

    async def read(self, name: str, query: Callable[[str], Awaitable[T]]) -> T:
        """Run a query on one generation; a switch meanwhile runs it again.

        Args:
            name: The projection.
            query: Called with the target; it only reads. An error because its target was removed meanwhile is not raised.

        Returns:
            The query's result.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name; `CONFLICT` when it is switched again and again.
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
        """Rebuild a projection from the first event, beside the generation that is read, then switch to it.

        The rebuild continues when this process ends: any process that has the projection takes over. The old target is removed
        in the unit of work of the switch. A second request meanwhile joins the rebuild that runs.

        Args:
            name: The projection; it needs `reset`.
            wait: Real seconds to wait for the switch; `None` returns at once.

        Returns:
            The target that is read after the switch.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` for an unknown name; `VALIDATION_FAILED` when it cannot be rebuilt;
                `HANDLER_FAILED`, with the cause, as soon as an event has stopped the rebuild in this process; `TIMEOUT`, with
                what the rebuild is doing, when it was not switched in time (it continues).
        """
        check_seconds("wait", wait, least=0, optional=True)
        worker = self.worker(name)
        generation = await worker.rebuild()
        target = generation.target(name)
        if wait is not None:
            await self._switched(worker, generation, wait)
        return target

    async def _switched(self, worker: ProjectionWorker, wanted: Generation, seconds: float) -> None:
        async def has_switched() -> bool:
            active = await worker.generations.active()
            if active is not None and active >= wanted and not worker.reads_earlier(wanted):
                return True
            built = worker.building(wanted)
            if built is not None and built.state is ConsumerState.STOPPED:
                raise CatgaError(
                    f"the rebuild of {worker.name!r} has stopped: {built.reason}. Fix the cause, and call resume.",
                    code=ErrorCode.HANDLER_FAILED,
                    details={"position": built.position},
                )
            return False

        if not await poll_until(
            has_switched,
            wait=lambda left: worker.switched.wait(timeout=left),
            every=_LOOK_SECONDS,
            timeout=seconds,
        ):
            raise _late(worker, wanted, seconds)


def _late(worker: ProjectionWorker, wanted: Generation, seconds: float) -> CatgaError:
    built = worker.building(wanted)
    if built is None:
        text = "no consumer in this process builds it; a process with the role 'work' does, once there is one"
    else:
        text = f"it is {built.state} at position {built.position}"
        if reason := built.reason or built.last_failure:
            text += f" ({reason})"
    msg = f"the rebuild of {worker.name!r} was not done within {seconds:g} s, and goes on: {text}"
    return CatgaError(msg, code=ErrorCode.TIMEOUT)
