"""Runs a catch-up projection: the generation that is read, and beside it the one that is built."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers import (
    Control,
    Follower,
    FollowerPorts,
    FollowerState,
    Progress,
    Replayed,
    Work,
    follower_health,
    replay_parked,
)
from catga_core.event_sourcing.consumers.replaying import parked_by
from catga_core.event_sourcing.projections.definition import ProjectionDefinition, ProjectionMode
from catga_core.event_sourcing.projections.generation_work import TARGET, GenerationWork
from catga_core.event_sourcing.projections.generations import Generation
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.event_sourcing.projections.projection import can_rebuild
from catga_core.event_sourcing.projections.worker import ProjectionWorker
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import FOLLOWER_FAILED, PROJECTION_SUPERSEDED, logger, traceback_of
from catga_core.runtime.retry import backoff, scattered


class _Running:
    """A generation and what goes through the log for it."""

    def __init__(self, work: GenerationWork, follower: Follower) -> None:
        self.work = work
        self.follower = follower


class CatchUpWorker(ProjectionWorker):
    """One catch-up projection of a container that runs.

    It looks again and again which generation is read and which one is to be built, and keeps a follower for each that this
    program can work for: what another process has asked for or has begun, any process goes on with.
    """

    def __init__(
        self, definition: ProjectionDefinition, ports: FollowerPorts, handling: ProjectionHandling
    ) -> None:
        super().__init__(definition, ports, handling)
        self._control = Control()
        self._running: dict[Generation, _Running] = {}
        self._active: Generation | None = None
        # The generation that was read when letters of earlier ones were removed.
        self._tidy: Generation | None = None
        # What is told while another program works for the generation that is read, or nobody does yet.
        self._idle = Progress(self.generations.key_of(Generation(definition.cls.projection_version, 0)))
        self._manager: asyncio.Task[None] | None = None

    @property
    def parts(self) -> Sequence[Progress]:
        """How far the generation is that is read."""
        found = None if self._active is None else self._running.get(self._active)
        return (self._idle if found is None else found.follower.progress,)

    async def start(self) -> None:
        """Begin in the background."""
        # Tried at once, so that whatever is appended from here on is new to a projection that is. A storage that is away
        # is met again in the background.
        with contextlib.suppress(CatgaError):
            await self._active_generation()
        self._manager = asyncio.create_task(self._manage(), name=f"catga projection {self.name!r}")
        self._observer.start()

    async def stop(self) -> None:
        """Finish what is under way, keep the checkpoints, give the leases back."""
        self._control.stop()
        try:
            if self._manager is not None:
                await asyncio.wait([self._manager])
            await asyncio.gather(*(each.follower.stop() for each in self._running.values()))
        finally:
            if self._manager is not None:
                self._manager.cancel()
            await self._observer.stop()

    def health(self) -> Health:
        """Return its state, how far it is behind, what is parked, and how far a rebuild is."""
        now = self._ports.clock.time()
        health = follower_health(self.parts, self.definition.delivery, now, self._unknown.counts())
        built = next((each for key, each in self._running.items() if key != self._active), None)
        details = {**health.details}
        if self._active is not None:
            details["target"] = self._active.target(self.name)
        status, description = health.status, health.description
        if built is not None:
            progress = built.follower.progress
            details["rebuild"] = {
                "target": built.work.generation.target(self.name),
                "state": str(progress.state),
                "position": progress.position,
            }
            if progress.state in {FollowerState.STOPPED, FollowerState.RETRYING}:
                description += f"; its rebuild is {progress.state}: {progress.reason}"
                if status is HealthStatus.HEALTHY:
                    status = HealthStatus.DEGRADED
        return Health(status, description, details)

    def resume(self) -> None:
        """Go on after an event that stopped it."""
        for each in self._running.values():
            each.follower.resume()

    async def rebuild(self) -> Generation:
        """Have it built anew beside the one that is read; return the generation that will be read then."""
        cls = self.definition.cls
        if not can_rebuild(cls):
            msg = (
                f"the projection {self.name!r} cannot be rebuilt: give {cls.__name__} async def reset(self), which empties "
                "current_projection().target, and have its methods write there"
            )
            raise CatgaError(msg, code=ErrorCode.VALIDATION_FAILED)
        active = await self.generations.active()
        if active is None or active.version < cls.projection_version:
            # Its first life is only about to begin, or to replace an older version's.
            return Generation(cls.projection_version, 0)
        if active.version > cls.projection_version:
            raise CatgaError(self.superseded(active), code=ErrorCode.CONFLICT)
        asked = active.next_run
        await self.generations.ask_for(asked)
        self._control.wake()
        return asked

    async def replay_parked(self) -> Replayed:
        """Handle what is parked once more."""
        outcome = await replay_parked(self._ports, self.name, self._work_of)
        for each in self._running.values():
            # Its place was taken from it for that; it need not wait any longer.
            each.follower.return_to_work()
        await self._observer.look()
        return outcome

    def _work_of(self, letter: DeadLetter) -> Work | None:
        for each in self._running.values():
            if letter.id.startswith(f"{each.work.work.key}/"):
                return each.work.for_parked
        active = self._active
        if active is None or active.version != self.definition.cls.projection_version:
            return None
        # An inline one is followed by nobody.
        work = self._work(active, None)
        return work.for_parked if letter.id.startswith(f"{work.work.key}/") else None

    # --- which generations there are ---

    async def _manage(self) -> None:
        control, options, failures = self._control, self.definition.options, 0
        while not control.is_stopping():
            try:
                await self._arrange()
                failures = 0
                pause = scattered(options.poll_seconds)
            except Exception as error:  # noqa: BLE001 - whatever it is, the projection goes on, and tells
                failures += 1
                logger().error(
                    FOLLOWER_FAILED["projection"],
                    projection=self.name,
                    error=f"{type(error).__name__}: {error}",
                    stack=traceback_of(error),
                )
                if self._active is None:
                    self._idle.change(FollowerState.RETRYING, f"{type(error).__name__}: {error}")
                pause = backoff(
                    failures, first=options.retry_delay_seconds, longest=options.max_retry_delay_seconds
                )
            await control.wait_for(asyncio.sleep(pause))

    async def _arrange(self) -> None:
        active = await self._active_generation()
        if active != self._active:
            self._active = active
            self._idle.name = self.generations.key_of(active)
        wanted = await self._wanted(active)
        for generation in [each for each in self._running if each not in wanted]:
            await self._running.pop(generation).follower.stop()
        for generation, replaces in wanted.items():
            known = self._running.get(generation)
            if known is None or known.follower.done:
                self._running[generation] = self._begin(generation, replaces)
        if active.version == self.definition.cls.projection_version and active != self._tidy:
            await self._forget_letters(active)
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
        """Return what this program can work for, each with what it is to replace."""
        mine = self.definition.cls.projection_version
        if active.version > mine:
            if self._idle.state is not FollowerState.SUPERSEDED:
                logger().warning(PROJECTION_SUPERSEDED, projection=self.name, reason=self.superseded(active))
            self._idle.change(FollowerState.SUPERSEDED, self.superseded(active))
            return {}
        if active.version < mine:
            # Its own version has the code for it; whoever runs that keeps it going until the switch.
            return {Generation(mine, 0): active}
        wanted: dict[Generation, Generation | None] = {active: None}
        asked = await self.generations.asked_for()
        if asked is not None and asked.version == mine and asked > active:
            wanted[asked] = active
        return wanted

    def _begin(self, generation: Generation, replaces: Generation | None) -> _Running:
        work = self._work(generation, replaces)
        follower = Follower(self._ports, work.work, self.definition.options)
        follower.start()
        return _Running(work, follower)

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
            switched=self._control.wake,
        )

    async def _forget_letters(self, active: Generation) -> None:
        """Remove what earlier generations have parked, whoever ran them: this one has met the same events."""
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
        """Return why this program's version does not work for what is read."""
        return (
            f"version {active.version} of the projection {self.name!r} is read, and this program has version "
            f"{self.definition.cls.projection_version}: run the program of that version, or raise this one's above it"
        )
