"""`ParkedEvents`: replays the dead letters of projections and subscriptions."""

from __future__ import annotations

from typing import Any, ClassVar

from catga_core.errors import CatgaError, HandlerNotFoundError
from catga_core.event_sourcing.consumers import (
    ConsumerPorts,
    ConsumerWork,
    Takeover,
    rehearse_letter,
    replay_letter,
)
from catga_core.event_sourcing.consumers.directory import ConsumerWorker
from catga_core.event_sourcing.projections import Projections
from catga_core.event_sourcing.subscriptions import Subscriptions
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.messages.results import CatgaResult, Failure


class ParkedEvents:
    """Has parked events handled by the projection or subscription that has parked them.

    Args:
        projections: The container's projections.
        subscriptions: The container's subscriptions.
        ports: What they use.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, projections: Projections, subscriptions: Subscriptions, ports: ConsumerPorts) -> None:
        self._projections = projections
        self._subscriptions = subscriptions
        self._ports = ports

    async def replay(self, letter: DeadLetter, token: int, /) -> CatgaResult[None]:
        """Handle a parked event in one unit of work with the removal of its letter; a failure updates the letter."""
        found = await self._work_for(letter)
        if found is None:
            return Failure(_no_consumer(letter))
        worker, work = found
        result = await replay_letter(self._ports, work, letter, Takeover(self._ports), token)
        await worker.has_replayed()
        return Failure(_no_consumer(letter)) if result is None else result

    async def rehearse(self, letter: DeadLetter, /) -> CatgaResult[Any]:
        """Handle a parked event, and leave its letter and the checkpoint as they are."""
        found = await self._work_for(letter)
        if found is None:
            return Failure(_no_consumer(letter))
        return await rehearse_letter(self._ports, found[1], letter)

    async def _work_for(self, letter: DeadLetter) -> tuple[ConsumerWorker, ConsumerWork] | None:
        return await self._projections.work_for(letter) or await self._subscriptions.work_for(letter)


def _no_consumer(letter: DeadLetter) -> CatgaError:
    text = (
        f"The dead letter {letter.id!r} is an event that the projection or subscription {letter.handler!r} has parked, and this "
        "process does not have it, or another generation of it is read. Replay it in a process that registers it, or purge it."
    )
    return HandlerNotFoundError(text)
