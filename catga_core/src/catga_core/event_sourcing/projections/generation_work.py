"""`GenerationWork`: a consumer's work for one generation of a projection: build it, switch to it, keep it up to date."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable

import msgspec

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.event_sourcing.consumers import (
    CheckpointMover,
    ConsumerPorts,
    ConsumerWork,
    LogLosses,
    OnLogLoss,
    Selection,
    TooFarAheadError,
)
from catga_core.event_sourcing.consumers.failures import is_storage_failure
from catga_core.event_sourcing.projections.context import ProjectionContext, active_projection
from catga_core.event_sourcing.projections.generations import NOTHING, Generation, Generations
from catga_core.event_sourcing.projections.handling import ProjectionHandling
from catga_core.interfaces.checkpoints import Checkpoint
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import PROJECTION_SWITCHED, logger

TARGET = "catga-projection-target"
"""The header of a dead letter with the target of the generation that has parked it."""

APPENDING = "projections:appending"
"""A named value without meaning: writing it makes a unit of work the only one that appends beside inline projections."""

_PATIENCE = 5  # failed switches before the old generation is held up


class GenerationWork:
    """One generation of a catch-up projection.

    While it is built, it reads up to the position of the generation that is read, never further: events after the switch are
    handled by the new generation, events before it by the old one. No event is left out, and none is new to both.

    Args:
        ports: What it uses.
        generations: The projection's generations.
        generation: This one.
        replaces: The one that is read while this one is built, `None` when this one is read.
        handling: Calls the projection.
        selection: Which events it handles.
        transactional: Whether effects and checkpoint are in one unit of work.
        inline: Whether appends update it after the switch: then it is built up to the head of the log, and has no consumer.
        switched: Called after the switch.
        losses: Where it reports that the log has lost its end.
        on_log_loss: The policy for that while it is read.
        rebuild: Requests a rebuild.
    """

    def __init__(
        self,
        ports: ConsumerPorts,
        generations: Generations,
        generation: Generation,
        replaces: Generation | None,
        handling: ProjectionHandling,
        selection: Selection,
        *,
        transactional: bool,
        inline: bool,
        switched: Callable[[], None],
        losses: LogLosses,
        on_log_loss: OnLogLoss,
        rebuild: Callable[[], Awaitable[object]],
    ) -> None:
        self._ports = ports
        self._generations = generations
        self._handling = handling
        self._inline = inline
        self._switched = switched
        self._on_log_loss = on_log_loss
        self._request_rebuild = rebuild
        # Events that are appended after the log lost its end are new, whatever position they get.
        self._replayed_until = math.inf
        self._history = 0
        self._missed = 0
        self._new = generation.context(generations.name, replay=False)
        self._replayed = generation.context(generations.name, replay=True)
        self.generation: Generation = generation
        self.replaces: Generation | None = replaces
        self.work: ConsumerWork = ConsumerWork(
            name=generations.name,
            kind="projection",
            key=generations.key_of(generation),
            wants=selection.wants,
            handle=self._handle,
            start=_from_the_beginning,
            transactional=transactional,
            confirm=self._confirm,
            begin=self._begin,
            still_wanted=self._still_wanted,
            limit=self.limit,
            at_limit=self.at_limit,
            ends_at_limit=inline,
            letter_headers={TARGET: generation.target(generations.name)},
            losses=losses,
            on_log_loss=self._policy,
            rebuild=self._rebuild,
            continued=self._continued,
        )

    @property
    def for_parked(self) -> ConsumerWork:
        """The same work for a parked event, which is a replay."""
        return msgspec.structs.replace(self.work, handle=self._handle_parked)

    async def limit(self) -> int | None:
        """Return the position of the generation that is read; `None` when this one is read."""
        if self.replaces is None:
            return None
        if self._inline:
            return await self._ports.log.head()
        return await self._end_of(await self._generations.checkpoint(self.replaces))

    async def at_limit(self, mover: CheckpointMover) -> bool:
        """Switch when both have reached the same position; hold the old one up if it moves on again and again."""
        old = self.replaces
        if old is None or await self._switch(old, mover):
            return True
        self._missed += 1
        if self._missed % _PATIENCE == 0 and not self._inline:
            # In a storage where the first commit wins, the old one may always be first.
            with contextlib.suppress(CatgaError):
                await self._generations.hold_up(old)
        return False

    # --- inside ---

    async def _switch(self, old: Generation, mover: CheckpointMover) -> bool:
        complete = False
        try:
            async with self._ports.storage.unit_of_work():
                await self._generations.switch(old, self.generation)
                retired = await self._generations.retire(old)
                # Inline, no process appends between the switch and the commit.
                until = await (self._ports.log.head() if self._inline else self._end_of(retired))
                until = max(until, mover.position)
                await mover.advance(until)
                complete = True
                if old != NOTHING:
                    await self._handling.remove(old.context(self._generations.name, replay=True))
        except TooFarAheadError:
            return False
        except Exception as error:
            if isinstance(error, CatgaError) and error.code == ErrorCode.CONFLICT:
                # The old one has moved; or another process has switched, which the next session finds.
                return False
            if complete or is_storage_failure(error) or isinstance(error, LeaseLostError):
                raise
            # An event's failure: it is handled again alone, and then the policy decides.
            return False
        self.replaces = None
        mover.advanced(until)
        logger().info(
            PROJECTION_SWITCHED,
            projection=self._generations.name,
            target=self.generation.target(self._generations.name),
            position=until,
        )
        self._switched()
        return True

    async def _end_of(self, replaced: Checkpoint | None) -> int:
        """Return up to where the replaced generation has read the log; the log's end where it has lost that."""
        if replaced is None:
            return 0
        if await self._ports.reader.contains(replaced.position, replaced.event_id):
            return replaced.position
        return await self._ports.log.head()

    def _policy(self) -> OnLogLoss:
        return OnLogLoss.REBUILD if self.replaces is not None else self._on_log_loss

    async def _rebuild(self) -> bool:
        if self.replaces is None:
            await self._request_rebuild()
            return False
        async with self._ports.storage.unit_of_work():
            await self._confirm()
            await self._generations.begin_again(self.generation)
        return True

    def _continued(self, position: int) -> None:
        self._replayed_until = min(self._replayed_until, position)

    async def _handle(self, stored: StoredEvent) -> None:
        replay = self.replaces is not None or stored.position <= min(self._history, self._replayed_until)
        await self._deliver(stored, self._replayed if replay else self._new)

    async def _handle_parked(self, stored: StoredEvent) -> None:
        if self._inline:
            # No append updates it between this read and the commit.
            await self._ports.values.set(APPENDING, 0)
        await self._deliver(stored, self._replayed)

    async def _deliver(self, stored: StoredEvent, context: ProjectionContext) -> None:
        token = active_projection.set(context)
        try:
            await self._handling.deliver(stored)
        finally:
            active_projection.reset(token)

    async def _confirm(self) -> None:
        await self._generations.confirm(self.replaces or self.generation)

    async def _begin(self) -> None:
        await self._handling.reset(self._replayed)

    async def _still_wanted(self) -> bool:
        active = await self._generations.active() or NOTHING
        if active == self.generation:
            self.replaces = None
            if self._inline:
                return False
            self._history = await self._generations.history(self.generation)
            return True
        return active == self.replaces


async def _from_the_beginning() -> int:
    return 0
