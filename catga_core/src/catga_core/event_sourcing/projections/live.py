"""Runs a projection in every process, without a checkpoint: a live one, or one of what is kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import Follower, FollowerPorts, Progress, Work, follower_health
from catga_core.event_sourcing.projections.context import ProjectionContext
from catga_core.event_sourcing.projections.definition import ProjectionDefinition, ProjectionMode
from catga_core.event_sourcing.projections.generations import Generation
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.interfaces.event_store import StoredEvent
from catga_core.interfaces.health import Health


class LiveWorker(ProjectionWorker):
    """One live projection of a container that runs, or one that is kept in memory."""

    def __init__(
        self, definition: ProjectionDefinition, ports: FollowerPorts, handling: ProjectionHandling
    ) -> None:
        super().__init__(definition, ports, handling)
        version = definition.cls.projection_version
        target = Generation(version, 0).target(self.name)
        self._new = ProjectionContext(self.name, version, target, replay=False)
        self._old = ProjectionContext(self.name, version, target, replay=True)
        self._from_the_beginning = definition.mode is ProjectionMode.IN_MEMORY
        # What is in memory is not taken back by a rollback, and so must not be handled a second time.
        self._transactional = definition.transactional and not self._from_the_beginning
        self._from = self._history = 0
        work = Work(
            name=self.name,
            kind="projection",
            key=self.generations.key,
            wants=self._selection.wants,
            handle=self._handle,
            start=self._start_position,
            transactional=self._transactional,
            kept=False,
        )
        self._follower = Follower(ports, work, definition.options)

    @property
    def parts(self) -> Sequence[Progress]:
        """How far this process is."""
        return (self._follower.progress,)

    async def start(self) -> None:
        """Have it emptied; then begin in the background: with the next event, or with the first one where it is in memory.

        Raises:
            CatgaError: when it cannot be emptied.
        """
        # Known when the start returns: what is appended from here on is new.
        self._history = await self._ports.log.head()
        if not self._from_the_beginning:
            self._from = self._history
        await self._reset()
        self._follower.start()
        self._observer.start()

    async def stop(self) -> None:
        """Finish what is under way."""
        try:
            await self._follower.stop()
        finally:
            await self._observer.stop()

    def health(self) -> Health:
        """Return its state, how far it is behind, and what is parked."""
        return follower_health(
            self.parts, self.definition.delivery, self._ports.clock.time(), self._unknown.counts()
        )

    def resume(self) -> None:
        """Go on after an event that stopped it."""
        self._follower.resume()

    async def _reset(self) -> None:
        """Begin anew: what an earlier process has left is not this one's."""
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
        context = self._old if stored.position <= self._history else self._new
        await self._handling.handle(stored, context)

    async def _start_position(self) -> int:
        # After an outage, where it was: nothing of this process's time is left out.
        return max(self._from, self._follower.progress.position)
