"""`LiveWorker`: runs a live or in-memory projection in every process, without a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import (
    Consumer,
    ConsumerPorts,
    ConsumerWork,
    OnLogLoss,
    Progress,
    consumer_health,
)
from catga_core.event_sourcing.projections.context import active_projection
from catga_core.event_sourcing.projections.definition import ProjectionDefinition, ProjectionMode
from catga_core.event_sourcing.projections.generations import Generation
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.interfaces.event_store import StoredEvent
from catga_core.interfaces.health import Health


class LiveWorker(ProjectionWorker):
    """Runs one live or in-memory projection."""

    def __init__(
        self, definition: ProjectionDefinition, ports: ConsumerPorts, handling: ProjectionHandling
    ) -> None:
        super().__init__(definition, ports, handling)
        generation = Generation(definition.cls.projection_version, 0)
        self._new = generation.context(self.name, replay=False)
        self._old = generation.context(self.name, replay=True)
        self._from_the_beginning = definition.mode is ProjectionMode.IN_MEMORY
        # A rollback does not undo changes in memory, so an event must not be handled a second time.
        self._transactional = definition.transactional and not self._from_the_beginning
        self._from = self._history = 0
        work = ConsumerWork(
            name=self.name,
            kind="projection",
            key=self.generations.key,
            wants=self._selection.wants,
            handle=self._handle,
            start=self._start_position,
            transactional=self._transactional,
            kept=False,
            losses=self._losses,
            on_log_loss=self._policy,
            rebuild=self._build_again,
            continued=self._continued,
        )
        self._consumer = Consumer(ports, work, definition.options)

    @property
    def parts(self) -> Sequence[Progress]:
        """The progress in this process."""
        return (self._consumer.progress,)

    async def start(self) -> None:
        """Reset it; then begin in the background, at the next event or, in memory, at the first one.

        Raises:
            CatgaError: It cannot be reset.
        """
        # Known when the start returns: events appended from here on are new.
        self._history = await self._ports.log.head()
        if not self._from_the_beginning:
            self._from = self._history
        await self._reset()
        self._consumer.start()
        self._monitor.start()

    async def stop(self) -> None:
        """Finish the event that is being handled."""
        try:
            await self._consumer.stop()
        finally:
            await self._monitor.stop()

    def health(self) -> Health:
        """Return its state, how far it is behind, and what is parked."""
        return consumer_health(
            self.parts,
            self.definition.delivery,
            self._ports.clock.time(),
            self._unknown.counts(),
            self._losses,
        )

    def resume(self) -> None:
        """Go on after an event that stopped it."""
        self._losses.acknowledge()
        self._consumer.resume()

    async def _reset(self) -> None:
        """Reset the target: it does not continue what an earlier process has left."""
        try:
            async with self._ports.storage.unit_of_work() if self._transactional else nullcontext():
                await self._handling.reset(self._old)
        except CatgaError:
            raise
        except Exception as error:
            msg = (
                f"the projection {self.name!r} cannot begin: its reset raised {type(error).__name__}: {error}"
            )
            raise CatgaError(msg, code=ErrorCode.HANDLER_FAILED) from error

    async def _handle(self, stored: StoredEvent) -> None:
        token = active_projection.set(self._old if stored.position <= self._history else self._new)
        try:
            await self._handling.deliver(stored)
        finally:
            active_projection.reset(token)

    def _policy(self) -> OnLogLoss:
        by_default = OnLogLoss.REBUILD if self._from_the_beginning else OnLogLoss.CONTINUE
        return self.definition.options.on_log_loss or by_default

    async def _build_again(self) -> bool:
        await self._reset()
        self._continued(0)
        self._consumer.progress.reached(0)
        return True

    def _continued(self, position: int) -> None:
        # Events that are appended after the log lost its end are new, whatever position they get.
        self._from, self._history = min(self._from, position), min(self._history, position)

    async def _start_position(self) -> int:
        # After an outage, where it was: no event since the start of this process is left out.
        return max(self._from, self._consumer.progress.position)
