"""`ScheduleWorker`: the hosted service that runs the schedules of this process, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from catga_core.clock import Clock
from catga_core.features.scheduling.definition import ScheduleDefinition
from catga_core.features.scheduling.enqueueing import TickEnqueuer
from catga_core.features.scheduling.run import ScheduleRun
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.named_values import NamedValueStore


class ScheduleState(msgspec.Struct, frozen=True):
    """The state of one schedule.

    Args:
        name: Its name.
        times: Its times in words.
        last_at: The last tick that was enqueued or passed over, seconds since the Unix epoch; `None` before the first start.
        next_at: The next tick, seconds since the Unix epoch; `None` where there is none.
    """

    name: str
    times: str
    last_at: float | None
    next_at: float | None


class ScheduleWorker:
    """Runs the schedules of this process; one that fails is retried alone.

    Args:
        definitions: Returns the schedules.
        values: Returns the store of the last ticks.
        enqueuer: Enqueues the commands.
        clock: The container's clock.
    """

    def __init__(
        self,
        definitions: Callable[[], Sequence[ScheduleDefinition]],
        values: Callable[[], NamedValueStore],
        enqueuer: TickEnqueuer,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._values = values
        self._enqueuer = enqueuer
        self._clock = clock
        self._runs: Sequence[ScheduleRun] = ()

    async def start(self) -> None:
        """Begin to enqueue; the ticks of a schedule that is started for the first time are those after now."""
        runs = [ScheduleRun(each, self._values, self._enqueuer, self._clock) for each in self._definitions()]
        for each in runs:
            await each.begin()
        self._runs = runs
        for each in runs:
            each.start()

    async def stop(self) -> None:
        """Enqueue nothing more."""
        async with asyncio.TaskGroup() as group:
            for each in self._runs:
                group.create_task(each.stop())

    async def states(self) -> Sequence[ScheduleState]:
        """Return the state of each schedule."""
        return [await self._state(each) for each in self._definitions()]

    def health(self) -> Health:
        """Return whether ticks can be enqueued, and which schedules fail."""
        failing = {
            each.definition.name: each.last_error for each in self._runs if each.last_error is not None
        }
        details = {
            "schedules": len(self._definitions()),
            "enqueued": sum(each.enqueued for each in self._runs),
            "failing": failing,
            "conflicts": sum(each.conflicts for each in self._runs),
            "without_handler": self._enqueuer.without_handler,
        }
        if failing:
            first = next(each for each in self._runs if each.definition.name in failing)
            text = (
                f"schedules fail: {', '.join(failing)}; {first.definition.name} failed {first.failures} times in a row: "
                f"{first.last_error}"
            )
            return Health(HealthStatus.UNHEALTHY, text, details)
        conflicted = [each.definition.name for each in self._runs if each.conflict is not None]
        if conflicted:
            text = f"the last tick was passed over, because its id is known for another command: {', '.join(conflicted)}"
            return Health(HealthStatus.DEGRADED, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    async def _state(self, definition: ScheduleDefinition) -> ScheduleState:
        last = await self._values().get(definition.key)
        following = next(definition.ticks.after(int(self._clock.time() * 1_000)), None)
        return ScheduleState(
            definition.name,
            definition.ticks.text,
            None if last is None else last / 1_000,
            None if following is None else following / 1_000,
        )
