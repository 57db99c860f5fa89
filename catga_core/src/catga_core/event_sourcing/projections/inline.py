"""Runs inline projections: built like any other, and from then on kept by every append, in its unit of work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from catga_core.errors import CatgaError, ConfigurationError, ErrorCode
from catga_core.event_sourcing.append_hooks import Append, AppendHooks
from catga_core.event_sourcing.consumers import FollowerPorts, FollowerState, Progress
from catga_core.event_sourcing.projections.catch_up import CatchUpWorker
from catga_core.event_sourcing.projections.context import ProjectionContext
from catga_core.event_sourcing.projections.definition import ProjectionDefinition
from catga_core.event_sourcing.projections.generation_work import APPEND_TURN
from catga_core.event_sourcing.projections.generations import NOTHING, Generation
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.interfaces.event_log import AppendResult, RecordedEvent, StreamAppend
from catga_core.interfaces.event_store import StoredEvent
from catga_core.interfaces.storage import UnitOfWork
from catga_core.runtime.unit_of_work import joined_unit_of_work


class _Kept(Progress):
    """What appends keep is as far as the log is."""

    def saw_head(self, head: int) -> None:
        self.reached(head)


class InlineWorker(CatchUpWorker):
    """One inline projection of a container that runs.

    It starts when what is read is of this program's version and has every event: from then on nothing can be appended
    without it. A rebuild runs beside that.
    """

    def __init__(
        self,
        definition: ProjectionDefinition,
        ports: FollowerPorts,
        handling: ProjectionHandling,
        appends: InlineAppends,
    ) -> None:
        super().__init__(definition, ports, handling)
        self._appends = appends
        self._kept = _Kept(f"{self.generations.key}:inline")
        appends.workers.append(self)

    @property
    def parts(self) -> Sequence[Progress]:
        """As far as the log is, once it is built."""
        if self._active is not None and self._active.version == self.definition.cls.projection_version:
            return (self._kept,)
        built = next(iter(self._running.values()), None)
        return super().parts if built is None else (built.follower.progress,)

    async def start(self) -> None:
        """Build it up to the end of the log; return when appends keep it.

        Raises:
            ConfigurationError: when the storage cannot run it in the unit of work of an append.
            CatgaError: when an event fails for good, or a newer version is read.
        """
        if not self._ports.storage.capabilities.immediate:
            msg = (
                f"the projection {self.name!r} cannot be inline in this storage, which writes only at the commit: "
                "use ProjectionMode.CATCH_UP, and projections.wait_for(name, position) to read what was just written"
            )
            raise ConfigurationError(msg)
        self._appends.check(self.name)
        await super().start()
        try:
            await self._built()
        except BaseException:
            # What is not started is not stopped by the container.
            await self.stop()
            raise

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return at once: what is committed is projected."""

    async def apply(self, events: Sequence[StoredEvent]) -> None:
        """Handle what is being appended, in its unit of work.

        Raises:
            CatgaError: when it fails, or this program cannot keep what is read; then nothing is appended.
        """
        wanted = [each for each in events if self._selection.wants(each.recorded)]
        active = await self.generations.active() or NOTHING
        mine = self.definition.cls.projection_version
        if active.version > mine:
            raise CatgaError(
                f"nothing was appended: {self.superseded(active)}", code=ErrorCode.PERSISTENCE_FAILED
            )
        if active.version < mine or not wanted:
            # Not built yet: whoever builds it finds these events in the log.
            return
        context = ProjectionContext(self.name, active.version, active.target(self.name), replay=False)
        for stored in wanted:
            try:
                await self._handling.handle(stored, context)
            except Exception as error:
                raise self._failed(stored, error) from error

    def _failed(self, stored: StoredEvent, error: Exception) -> CatgaError:
        known = error if isinstance(error, CatgaError) else None
        text = known.message if known is not None else f"{type(error).__name__}: {error}"
        return CatgaError(
            f"nothing was appended: the inline projection {self.name!r} failed for {stored.name}: {text}",
            code=known.code if known is not None else ErrorCode.HANDLER_FAILED,
            retryable=known.retryable if known is not None else False,
            details={"projection": self.name, "stream_id": stored.stream_id, "name": stored.name},
        )

    # --- which generations there are ---

    async def _built(self) -> None:
        mine = self.definition.cls.projection_version
        while True:
            active = await self.generations.active() or NOTHING
            if active.version > mine:
                raise CatgaError(self.superseded(active), code=ErrorCode.CONFLICT)
            if active.version == mine:
                self._active = active
                self._kept.change(FollowerState.RUNNING)
                return
            for each in self._running.values():
                progress = each.follower.progress
                if progress.state is FollowerState.STOPPED:
                    msg = f"the inline projection {self.name!r} cannot be built: {progress.reason}"
                    raise CatgaError(msg, code=ErrorCode.HANDLER_FAILED)
            await asyncio.sleep(0.01)

    async def _active_generation(self) -> Generation:
        return await self.generations.active() or NOTHING

    async def _wanted(self, active: Generation) -> dict[Generation, Generation | None]:
        wanted = await super()._wanted(active)
        # What is read is kept by the appends.
        wanted.pop(active, None)
        return wanted


class InlineAppends:
    """Runs the inline projections of a container with every append of its event store.

    Parameters:
        ports: what it uses.
        hooks: where the event store asks.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, ports: FollowerPorts, hooks: AppendHooks) -> None:
        self.workers: list[InlineWorker] = []
        self._ports = ports
        self._hooks = hooks
        hooks.around = self.append

    def check(self, name: str) -> None:
        """Refuse an event store that does not ask.

        Raises:
            ConfigurationError: telling what to do.
        """
        if not self._hooks.heeded:
            msg = (
                f"the projection {name!r} is inline, and the container's event store does nothing with its appends but "
                "append: use LogEventStore, which is there by default, or ProjectionMode.CATCH_UP"
            )
            raise ConfigurationError(msg)

    async def append(self, append: Append, appends: Sequence[StreamAppend]) -> list[AppendResult]:
        """Append, and have every inline projection handle what is new, before the unit of work is committed."""
        unit: UnitOfWork | None = joined_unit_of_work(self._ports.storage)
        if unit is not None:
            # No block of its own in it: who catches a conflict may go on with what surrounds it.
            return await self._append_in(unit, append, appends)
        async with self._ports.storage.unit_of_work() as own:
            return await self._append_in(own, append, appends)

    async def _append_in(
        self, unit: UnitOfWork, append: Append, appends: Sequence[StreamAppend]
    ) -> list[AppendResult]:
        ports = self._ports
        # Taken first: from here on nobody else appends, so that what was there before is known.
        await ports.checkpoints.save(APPEND_TURN, 0)
        before = {each.stream_id: await ports.log.version(each.stream_id) for each in appends}
        results = await append(appends)

        async def project() -> None:
            events = await self._new_events(before, results)
            for worker in self.workers:
                await worker.apply(events)

        unit.before_commit(project)
        return results

    async def _new_events(self, before: dict[str, int], results: Sequence[AppendResult]) -> list[StoredEvent]:
        """Return what was appended now; what was there already, from a first try, has been handled then."""
        found: list[RecordedEvent] = []
        for (stream_id, version), result in zip(before.items(), results, strict=True):
            if result.version > version:
                found += await self._ports.log.read_stream(
                    stream_id,
                    from_version=version + 1,
                    to_version=result.version,
                    limit=result.version - version,
                    backward=False,
                )
        return [
            StoredEvent(each, self._ports.types) for each in sorted(found, key=lambda each: each.position)
        ]
