"""`CatchUpWorker`: runs the generation of a projection that is read, and the one that is being built."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from catga_core.clock import SystemClock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import (
    Consumer,
    ConsumerPorts,
    ConsumerState,
    ConsumerWork,
    OnLogLoss,
    Progress,
    Replayed,
    consumer_health,
    replay_parked,
)
from catga_core.event_sourcing.consumers.failures import describe, log_interruption
from catga_core.event_sourcing.consumers.replaying import parked_by
from catga_core.event_sourcing.projections.definition import ProjectionDefinition, ProjectionMode
from catga_core.event_sourcing.projections.generation_work import TARGET, GenerationWork
from catga_core.event_sourcing.projections.generations import Generation
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.event_sourcing.projections.projection import can_rebuild
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import CONSUMER_FAILED, PROJECTION_SUPERSEDED, logger
from catga_core.runtime.worker import Worker


class _Running:
    """A generation and its consumer."""

    def __init__(self, work: GenerationWork, consumer: Consumer) -> None:
        self.work = work
        self.consumer = consumer


class CatchUpWorker(ProjectionWorker):
    """Runs one catch-up projection.

    It looks regularly which generation is read and which one is to be built, and runs a consumer for each that this
    program has the version for: any process continues a rebuild that another one has requested or begun.
    """

    def __init__(
        self, definition: ProjectionDefinition, ports: ConsumerPorts, handling: ProjectionHandling
    ) -> None:
        super().__init__(definition, ports, handling)
        self._manager = Worker(
            f"projection {self.name!r}",
            self._arrange,
            every=definition.options.poll_seconds,
            clock=SystemClock(),
            retry=msgspec.structs.replace(definition.options.retry, max_attempts=None),
            on_error=self._arranging_failed,
        )
        self._running: dict[Generation, _Running] = {}
        self._active: Generation | None = None
        # The generation that was read when consumers of earlier ones were stopped in this process.
        self._arranged: Generation | None = None
        # The generation that was read when dead letters of earlier ones were removed.
        self._tidy: Generation | None = None
        # Reported while another program, or none yet, works for the generation that is read.
        self._idle = Progress(self.generations.key_of(Generation(definition.cls.projection_version, 0)))

    @property
    def parts(self) -> Sequence[Progress]:
        """The progress of the generation that is read."""
        found = None if self._active is None else self._running.get(self._active)
        return (self._idle if found is None else found.consumer.progress,)

    async def start(self) -> None:
        """Begin in the background."""
        # At once, so that events appended from here on are new to a new projection. A storage that is away is asked again
        # in the background.
        with contextlib.suppress(CatgaError):
            await self._active_generation()
        self._idle.change(ConsumerState.STARTING)
        self._manager.start()
        self._monitor.start()

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return when the generation that is read has reached a position."""
        if self._idle.state is ConsumerState.IDLE:
            # No manager looks here which generation is read.
            active = await self.generations.active()
            if active is not None:
                self._idle.name = self.generations.key_of(active)
        await super().wait_for(position, timeout)

    async def stop(self) -> None:
        """Finish the units of work that run, save the checkpoints, release the leases."""
        try:
            await self._manager.stop()
            await asyncio.gather(*(each.consumer.stop() for each in self._running.values()))
        finally:
            await self._monitor.stop()

    def health(self) -> Health:
        """Return its state, how far it is behind, what is parked, and how far a rebuild is."""
        now = self._ports.clock.time()
        health = consumer_health(
            self.parts, self.definition.delivery, now, self._unknown.counts(), self._losses
        )
        built = next((each for key, each in self._running.items() if key != self._active), None)
        details = {**health.details}
        if self._active is not None:
            details["target"] = self._active.target(self.name)
        status, description = health.status, health.description
        if built is not None:
            progress = built.consumer.progress
            details["rebuild"] = {
                "target": built.work.generation.target(self.name),
                "state": str(progress.state),
                "position": progress.position,
            }
            if progress.state in {ConsumerState.STOPPED, ConsumerState.RETRYING}:
                description += f"; its rebuild is {progress.state}: {progress.reason}"
                if status is HealthStatus.HEALTHY:
                    status = HealthStatus.DEGRADED
        return Health(status, description, details)

    def resume(self) -> None:
        """Go on after an event that stopped it."""
        self._losses.acknowledge()
        for each in self._running.values():
            each.consumer.resume()

    async def rebuild(self) -> Generation:
        """Request a rebuild beside the generation that is read; return the generation that is read after it."""
        cls = self.definition.cls
        if not can_rebuild(cls):
            msg = (
                f"the projection {self.name!r} cannot be rebuilt: give {cls.__name__} async def reset(self), which empties "
                "current_projection().target, and have its methods write there"
            )
            raise CatgaError(msg, code=ErrorCode.VALIDATION_FAILED)
        active = await self.generations.active()
        if active is None or active.version < cls.projection_version:
            # Its first generation is about to be built, or to replace an older version's.
            return Generation(cls.projection_version, 0)
        if active.version > cls.projection_version:
            raise CatgaError(self.superseded(active), code=ErrorCode.CONFLICT)
        asked = active.next_run
        await self.generations.ask_for(asked)
        self._manager.wake()
        return asked

    def reads_earlier(self, generation: Generation) -> bool:
        """Tell whether consumers of earlier generations may still handle events in this process."""
        return bool(self._running) and (self._arranged is None or self._arranged < generation)

    def building(self, generation: Generation) -> Progress | None:
        """Return the progress of a generation that is being built here, `None` where this process does not build it."""
        found = self._running.get(generation)
        return None if found is None else found.consumer.progress

    async def replay_parked(self) -> Replayed:
        """Replay parked events."""
        # Asked again: a process without the role `work` runs no consumer, and has not looked which generation is read.
        active = await self.generations.active()
        outcome = await replay_parked(self._ports, self.name, lambda letter: self._work_of(letter, active))
        await self.has_replayed()
        return outcome

    async def work_for(self, letter: DeadLetter) -> ConsumerWork | None:
        """Return what handles a parked event in a replay, `None` for one of another consumer or generation."""
        return self._work_of(letter, await self.generations.active())

    async def has_replayed(self) -> None:
        """Go on after a replay."""
        for each in self._running.values():
            # The replay has taken its checkpoint over; it need not wait any longer.
            each.consumer.return_to_work()
        await self._monitor.look()

    def _work_of(self, letter: DeadLetter, active: Generation | None) -> ConsumerWork | None:
        for each in self._running.values():
            if letter.id.startswith(f"{each.work.work.key}/"):
                return each.work.for_parked
        if active is None or active.version != self.definition.cls.projection_version:
            return None
        # It has no consumer where it is inline, or where this process does not work.
        work = self._work(active, None)
        return work.for_parked if letter.id.startswith(f"{work.work.key}/") else None

    # --- which generations there are ---

    def _arranging_failed(self, error: Exception, _delay: float) -> None:
        log_interruption(CONSUMER_FAILED["projection"], error, projection=self.name)
        if self._active is None:
            self._idle.change(ConsumerState.RETRYING, describe(error))

    async def _arrange(self) -> None:
        active = await self._active_generation()
        if active != self._active:
            self._active = active
            self._idle.name = self.generations.key_of(active)
        wanted = await self._wanted(active)
        for generation in [each for each in self._running if each not in wanted]:
            await self._running.pop(generation).consumer.stop()
        if active != self._arranged:
            self._arranged = active
            self.switched.wake()
        for generation, replaces in wanted.items():
            known = self._running.get(generation)
            if known is None or known.consumer.done:
                self._running[generation] = self._begin(generation, replaces)
        if active.version == self.definition.cls.projection_version and active != self._tidy:
            await self._forget_letters(active)
            await self._remove_leftovers(active)
            self._tidy = active

    async def _active_generation(self) -> Generation:
        active = await self.generations.active()
        if active is not None:
            return active
        first = Generation(self.definition.cls.projection_version, 0)
        head = await self._ports.log.head()
        try:
            async with self._ports.storage.unit_of_work():
                await self.generations.begin(first, head)
        except CatgaError as error:
            if error.code != ErrorCode.CONFLICT:
                raise
            return await self._active_generation()
        return first

    async def _wanted(self, active: Generation) -> dict[Generation, Generation | None]:
        """Return the generations that this program has the version for, each with the one that it replaces."""
        mine = self.definition.cls.projection_version
        if active.version > mine:
            if self._idle.state is not ConsumerState.SUPERSEDED:
                logger().warning(PROJECTION_SUPERSEDED, projection=self.name, reason=self.superseded(active))
            self._idle.change(ConsumerState.SUPERSEDED, self.superseded(active))
            return {}
        if active.version < mine:
            # Programs of the older version keep it up to date until the switch.
            return {Generation(mine, 0): active}
        wanted: dict[Generation, Generation | None] = {active: None}
        asked = await self.generations.asked_for()
        if asked is not None and asked.version == mine and asked > active:
            wanted[asked] = active
        return wanted

    def _begin(self, generation: Generation, replaces: Generation | None) -> _Running:
        work = self._work(generation, replaces)
        consumer = Consumer(self._ports, work.work, self.definition.options)
        consumer.start()
        return _Running(work, consumer)

    def _work(self, generation: Generation, replaces: Generation | None) -> GenerationWork:
        return GenerationWork(
            self._ports,
            self.generations,
            generation,
            replaces,
            self._handling,
            self._selection,
            transactional=self.definition.transactional,
            inline=self.definition.mode is ProjectionMode.INLINE,
            switched=self._has_switched,
            losses=self._losses,
            on_log_loss=self.definition.options.on_log_loss or OnLogLoss.STOP,
            rebuild=self.rebuild,
        )

    def _has_switched(self) -> None:
        self._manager.wake()

    async def _remove_leftovers(self, active: Generation) -> None:
        """Remove the targets of earlier generations: of rebuilds that a newer version has overtaken."""
        for each in await self.generations.older_than(active):
            async with self._ports.storage.unit_of_work():
                # A process that still builds it cannot save its checkpoint any more.
                await self.generations.retire(each)
                await self._handling.remove(each.context(self.name, replay=True))

    async def _forget_letters(self, active: Generation) -> None:
        """Remove what earlier generations have parked, in any process: this one has handled the same events."""
        after: str | None = None
        while True:
            page = await self._ports.dead_letters.find(parked_by(self.name), after=after)
            for letter in page.letters:
                generation = self.generations.of_letter(letter.id)
                if generation is not None and generation < active and TARGET in letter.context.headers:
                    await self._ports.dead_letters.remove(letter.id)
            after = page.next
            if after is None:
                return

    def superseded(self, active: Generation) -> str:
        """Return why this program's version does not work for the generation that is read."""
        return (
            f"version {active.version} of the projection {self.name!r} is read, and this program has version "
            f"{self.definition.cls.projection_version}: run the program of that version, or raise this one's above it"
        )
