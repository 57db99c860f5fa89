"""Inline projections: built like any other, then updated by every append, in its unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from catga_core.errors import CatgaError, ConfigurationError, ErrorCode
from catga_core.event_sourcing.append_hooks import Append, AppendHooks
from catga_core.event_sourcing.consumers import ConsumerPorts, ConsumerState, Progress
from catga_core.event_sourcing.projections.catch_up import CatchUpWorker
from catga_core.event_sourcing.projections.context import active_projection
from catga_core.event_sourcing.projections.definition import ProjectionDefinition
from catga_core.event_sourcing.projections.generation_work import APPENDING
from catga_core.event_sourcing.projections.generations import NOTHING, Generation
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.interfaces.event_log import AppendResult, RecordedEvent, StreamAppend
from catga_core.interfaces.event_store import StoredEvent
from catga_core.interfaces.storage import UnitOfWork
from catga_core.runtime.unit_of_work import joined_unit_of_work
from catga_core.runtime.waiter import poll_until

_LOOK_SECONDS = 0.02  # between two looks whether it is built, here or by another process


class _Kept(Progress):
    """The progress of a projection that appends update: always at the head of the log."""

    follows_head = True


class InlineWorker(CatchUpWorker):
    """Runs one inline projection.

    It has started when the generation that is read has this program's version and every event: from then on each append
    updates it. A rebuild runs beside that.

    Raises:
        ConfigurationError: The storage, or the event store, cannot run it in the unit of work of an append.
    """

    def __init__(
        self,
        definition: ProjectionDefinition,
        ports: ConsumerPorts,
        handling: ProjectionHandling,
        appends: InlineAppends,
    ) -> None:
        super().__init__(definition, ports, handling)
        # Here, because appends of a process that does not start it run it as well.
        if not ports.storage.capabilities.immediate:
            msg = (
                f"the projection {self.name!r} cannot be inline in this storage, which writes only at the commit: "
                "use ProjectionMode.CATCH_UP, and projections.wait_for(name, position) to read what was just written"
            )
            raise ConfigurationError(msg)
        appends.check(self.name)
        self._kept = _Kept(f"{self.generations.key}:inline", kept=False)
        appends.workers.append(self)

    @property
    def parts(self) -> Sequence[Progress]:
        """At the head of the log, once it is built."""
        if self._active is not None and self._active.version == self.definition.cls.projection_version:
            return (self._kept,)
        built = next(iter(self._running.values()), None)
        return super().parts if built is None else (built.consumer.progress,)

    async def start(self) -> None:
        """Build it up to the head of the log; return when appends update it.

        Raises:
            CatgaError: An event fails for good, or a newer version is read.
        """
        self._kept.change(ConsumerState.STARTING)
        await super().start()
        try:
            await self._built()
        except BaseException:
            # The container does not stop a service that has not started.
            await self.stop()
            raise

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return when it is built: from then on, committed events are projected.

        Raises:
            CatgaError: `TIMEOUT`; no process with the role `work` has built it.
        """
        if self._kept.state is ConsumerState.RUNNING:
            return

        async def is_built() -> bool:
            active = await self.generations.active() or NOTHING
            return active.version >= self.definition.cls.projection_version

        if not await poll_until(
            is_built,
            wait=lambda seconds: self.switched.wait(timeout=seconds),
            every=_LOOK_SECONDS,
            timeout=timeout,
        ):
            msg = (
                f"the projection {self.name!r} was not built within {timeout:g} s, so it has not come to position {position}: "
                "start a process with the role 'work', which builds it"
            )
            raise CatgaError(msg, code=ErrorCode.TIMEOUT)

    async def apply(self, events: Sequence[StoredEvent]) -> None:
        """Handle the appended events, in the unit of work of the append.

        Raises:
            CatgaError: One fails, or a newer version is read; then nothing is appended.
        """
        wanted = [each for each in events if self._selection.wants(each.recorded)]
        active = await self.generations.active() or NOTHING
        mine = self.definition.cls.projection_version
        if active.version > mine:
            raise CatgaError(
                f"nothing was appended: {self.superseded(active)}", code=ErrorCode.PERSISTENCE_FAILED
            )
        if active.version < mine or not wanted:
            # Not built yet: the build finds these events in the log.
            return
        token = active_projection.set(active.context(self.name, replay=False))
        try:
            for stored in wanted:
                try:
                    await self._handling.deliver(stored)
                except Exception as error:
                    raise self._failed(stored, error) from error
        finally:
            active_projection.reset(token)

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
        await poll_until(
            self._is_built,
            wait=lambda seconds: self.switched.wait(timeout=seconds),
            every=_LOOK_SECONDS,
            timeout=None,
        )

    async def _is_built(self) -> bool:
        mine = self.definition.cls.projection_version
        active = await self.generations.active() or NOTHING
        if active.version > mine:
            raise CatgaError(self.superseded(active), code=ErrorCode.CONFLICT)
        if active.version == mine:
            self._active = active
            self._kept.change(ConsumerState.RUNNING)
            return True
        for each in self._running.values():
            progress = each.consumer.progress
            if progress.state is ConsumerState.STOPPED:
                msg = f"the inline projection {self.name!r} cannot be built: {progress.reason}"
                raise CatgaError(msg, code=ErrorCode.HANDLER_FAILED)
        return False

    async def _active_generation(self) -> Generation:
        return await self.generations.active() or NOTHING

    async def _wanted(self, active: Generation) -> dict[Generation, Generation | None]:
        wanted = await super()._wanted(active)
        # Appends update the generation that is read.
        wanted.pop(active, None)
        return wanted


class InlineAppends:
    """Runs the inline projections of a container with every append of its event store.

    Args:
        ports: What it uses.
        hooks: The hooks of the event store.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, ports: ConsumerPorts, hooks: AppendHooks) -> None:
        self.workers: list[InlineWorker] = []
        self._ports = ports
        self._hooks = hooks
        hooks.around = self.append

    def check(self, name: str) -> None:
        """Check that the event store calls the hooks.

        Raises:
            ConfigurationError: It does not.
        """
        if not self._hooks.heeded:
            msg = (
                f"the projection {name!r} is inline, and the container's event store does not call append hooks: use "
                "LogEventStore, the default, or ProjectionMode.CATCH_UP"
            )
            raise ConfigurationError(msg)

    async def append(self, append: Append, appends: Sequence[StreamAppend]) -> list[AppendResult]:
        """Append, and run every inline projection for the new events before the unit of work is committed."""
        unit: UnitOfWork | None = joined_unit_of_work(self._ports.storage)
        if unit is not None:
            # No inner block: a caller that catches a conflict may continue its unit of work.
            return await self._append_in(unit, append, appends)
        async with self._ports.storage.unit_of_work() as own:
            return await self._append_in(own, append, appends)

    async def _append_in(
        self, unit: UnitOfWork, append: Append, appends: Sequence[StreamAppend]
    ) -> list[AppendResult]:
        ports = self._ports
        # First of all: from here on no other process appends, so that the versions before are known.
        await ports.values.set(APPENDING, 0)
        before = {each.stream_id: await ports.log.version(each.stream_id) for each in appends}
        results = await append(appends)

        async def project() -> None:
            events = await self._new_events(before, results)
            for worker in self.workers:
                await worker.apply(events)

        unit.before_commit(project)
        return results

    async def _new_events(self, before: dict[str, int], results: Sequence[AppendResult]) -> list[StoredEvent]:
        """Return the events that were appended now; those of an earlier attempt were handled then."""
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
