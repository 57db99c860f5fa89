"""`Schedules`: what operators do with schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode
from catga_core.features.scheduling.definition import ScheduleDefinition
from catga_core.features.scheduling.enqueueing import TickEnqueuer
from catga_core.features.scheduling.worker import ScheduleState, ScheduleWorker
from catga_core.mediator import CatgaMediator
from catga_core.messages.scheduled import ScheduledId

_MOST_TICKS = 10_000


class Schedules:
    """The container's schedules, for operators: `app.schedules`.

    Args:
        definitions: Returns the schedules.
        worker: Runs them.
        enqueuer: Enqueues the commands of debounced schedules.
        mediator: Enqueues commands.
        clock: The container's clock.
    """

    def __init__(
        self,
        definitions: Callable[[], Sequence[ScheduleDefinition]],
        worker: ScheduleWorker,
        enqueuer: TickEnqueuer,
        mediator: CatgaMediator,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._worker = worker
        self._enqueuer = enqueuer
        self._mediator = mediator
        self._clock = clock

    async def list(self) -> Sequence[ScheduleState]:
        """Return the state of each schedule, in the order of registration."""
        return await self._worker.states()

    async def run_now(self, name: str, /) -> ScheduledId:
        """Enqueue the command of a schedule now, besides its ticks; with `debounce`, as a tick that a later one replaces.

        Args:
            name: The schedule.

        Raises:
            CatgaError: `NOT_FOUND` for an unknown schedule; else as `enqueue`.
        """
        definition = self._named(name)
        if definition.debounce_seconds is not None:
            return await self._enqueuer.run_now(definition)
        return await self._mediator.enqueue(definition.command_of(int(self._clock.time() * 1_000)))

    async def backfill(self, name: str, /, *, start: datetime, end: datetime) -> Sequence[ScheduledId]:
        """Enqueue the commands of the ticks of a time range, in order.

        A tick whose command is still known, because it waits or was handled within the queues' `retention_seconds`, is not
        enqueued again.

        Args:
            name: The schedule.
            start: The first tick is at or after it; timezone-aware.
            end: The last tick is before it; timezone-aware.

        Returns:
            The ids of all commands of the range.

        Raises:
            ValueError: A time is naive, or the range has above 10,000 ticks.
            CatgaError: `NOT_FOUND` for an unknown schedule; else as `enqueue`.
        """
        definition = self._named(name)
        for label, moment in (("start", start), ("end", end)):
            if moment.tzinfo is None:
                msg = f"{label} must be timezone-aware; got the naive {moment!r}. Pass datetime(..., tzinfo=UTC)."
                raise ValueError(msg)
        until = round(end.timestamp() * 1_000)
        ticks: list[int] = []
        for tick in definition.ticks.after(round(start.timestamp() * 1_000) - 1):
            if tick >= until:
                break
            if len(ticks) == _MOST_TICKS:
                msg = f"the range has above {_MOST_TICKS} ticks of {name!r}. Backfill it in parts."
                raise ValueError(msg)
            ticks.append(tick)
        return [
            await self._mediator.enqueue(
                definition.command_of(tick),
                message_id=definition.message_id(tick),
                key=f"schedule:{definition.name}:backfill",
            )
            for tick in ticks
        ]

    def _named(self, name: str) -> ScheduleDefinition:
        definitions = self._definitions()
        found = next((each for each in definitions if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in definitions) or "none"
            text = f"no schedule is named {name!r}; this container has {known}. Register it with add_schedule(...)."
            raise CatgaError(text, code=ErrorCode.NOT_FOUND)
        return found
