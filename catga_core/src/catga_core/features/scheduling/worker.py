"""`ScheduleWorker`: enqueues the commands of ticks that are due, once for each tick across replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC
from itertools import islice
from typing import Any

import msgspec

from catga_core.clock import Clock
from catga_core.features.scheduling.definition import OnMissed, OnOverlap, ScheduleDefinition
from catga_core.features.scheduling.ticks import moment_of
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.named_values import NamedValueConflictError, NamedValueStore
from catga_core.interfaces.queue import QueueState
from catga_core.interfaces.storage import Storage
from catga_core.log import SCHEDULE_FAILED, TICK_SKIPPED, TICKS_MISSED, logger
from catga_core.mediator import CatgaMediator
from catga_core.messages import message_type
from catga_core.messages.scheduled import ScheduledId, scheduled_as
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker

_LONGEST_WAIT_SECONDS = 30.0  # the clock may be set
_AT_ONCE = 100  # ticks that are enqueued in one transaction


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
    """A hosted service that runs the schedules of this process.

    The last tick of each schedule is kept in the storage and moved on in the transaction that enqueues the command, so that of
    several replicas one does it. Over a broker the command is enqueued before, under an id that every replica gives it. A tick that was moved past is never run again, also when the clock is set back.

    Args:
        definitions: Returns the schedules.
        values: Returns the store of the last ticks.
        storage: Returns the current storage.
        mediator: Enqueues the commands.
        clock: The container's clock.
        joins: Returns whether an enqueued command is part of the storage's unit of work.
    """

    def __init__(
        self,
        definitions: Callable[[], Sequence[ScheduleDefinition]],
        values: Callable[[], NamedValueStore],
        storage: Callable[[], Storage],
        mediator: CatgaMediator,
        clock: Clock,
        joins: Callable[[], bool],
    ) -> None:
        self._definitions = definitions
        self._values = values
        self._storage = storage
        self._mediator = mediator
        self._clock = clock
        self._joins = joins
        self._enqueued = 0
        # When the last turn began, in milliseconds since the Unix epoch.
        self._looked_at = 0
        self._worker = Worker(
            "schedules",
            self._turn,
            every=_LONGEST_WAIT_SECONDS,
            clock=clock,
            retry=RetryPolicy(max_attempts=None, delay_seconds=1.0, max_delay_seconds=_LONGEST_WAIT_SECONDS),
            idle=self._until_next,
            on_error=_failed,
        )

    async def start(self) -> None:
        """Begin to enqueue; the ticks of a schedule that is started for the first time are those after now."""
        for each in self._definitions():
            await self._begin(each)
        self._worker.start()

    async def stop(self) -> None:
        """Enqueue nothing more."""
        await self._worker.stop()

    async def states(self) -> Sequence[ScheduleState]:
        """Return the state of each schedule."""
        return [await self._state(each) for each in self._definitions()]

    def health(self) -> Health:
        """Return whether ticks can be enqueued."""
        details = {"schedules": len(self._definitions()), "enqueued": self._enqueued}
        if self._worker.failures:
            text = f"schedules failed {self._worker.failures} times in a row: {self._worker.last_error}"
            return Health(HealthStatus.UNHEALTHY, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    # --- the loop ---

    async def _turn(self) -> bool:
        more = False
        errors: list[Exception] = []
        self._looked_at = self._now()
        for each in self._definitions():
            try:
                more |= await self._run(each)
            except NamedValueConflictError:
                # Another replica was first.
                more = True
            except Exception as error:  # noqa: BLE001 - the other schedules are run
                error.add_note(f"in the schedule {each.name!r}")
                errors.append(error)
        if errors:
            raise errors[0]
        return more

    async def _begin(self, definition: ScheduleDefinition) -> None:
        values = self._values()
        if await values.get(definition.key) is None:
            with suppress(NamedValueConflictError):
                await values.compare_and_set(definition.key, self._now(), expected=None)

    async def _until_next(self, seconds: float) -> None:
        # After the last look, not after now: a tick that came during the turn is not left for the next one.
        ticks = [next(each.ticks.after(self._looked_at), None) for each in self._definitions()]
        now = self._now()
        left = [max(0.0, (tick - now) / 1_000) for tick in ticks if tick is not None]
        await self._clock.sleep(min([seconds, *left]))

    async def _run(self, definition: ScheduleDefinition) -> bool:
        """Enqueue what is due; return whether there is more."""
        values, now = self._values(), self._now()
        last = await values.get(definition.key)
        if last is None:
            # Somebody has deleted it.
            await self._begin(definition)
            return False
        latest = definition.ticks.latest(now)
        if latest is None or latest <= last:
            return False
        due, until = _due(definition, last, latest, now)
        if self._joins():
            async with self._storage().unit_of_work():
                await values.compare_and_set(definition.key, until, expected=last)
                for tick in due:
                    await self._tick(definition, tick)
            return until < latest
        # First enqueued: a crash between the two repeats the tick under the same id, and never leaves it out.
        for tick in due:
            await self._tick(definition, tick)
        await values.compare_and_set(definition.key, until, expected=last)
        return until < latest

    async def run_now(self, definition: ScheduleDefinition) -> ScheduledId:
        """Enqueue the command of a schedule now, in the place of one that waits for a later one; return its id.

        Raises:
            CatgaError: As `enqueue`; the one that waits goes on waiting then.
        """
        tick = self._now()
        while True:
            try:
                if not self._joins():
                    return await self._enqueue(definition, tick, *await self._last(definition))
                async with self._storage().unit_of_work():
                    return await self._enqueue(definition, tick, *await self._last(definition))
            except NamedValueConflictError:
                # Another replica was first.
                await asyncio.sleep(0)

    async def _tick(self, definition: ScheduleDefinition, tick: int) -> None:
        """Enqueue the command of a tick, unless `overlap` skips it."""
        last, state = await self._last(definition)
        if definition.overlap is OnOverlap.SKIP:
            replaced = definition.debounce_seconds is not None and state is QueueState.SCHEDULED
            if last != tick and not replaced and state not in {None, QueueState.DONE}:
                message_id = definition.message_id(tick)
                logger().warning(TICK_SKIPPED, schedule=definition.name, message_id=message_id)
                return
        await self._enqueue(definition, tick, last, state)

    async def _enqueue(
        self, definition: ScheduleDefinition, tick: int, last: int | None, state: QueueState | None
    ) -> ScheduledId:
        """Enqueue the command of a tick; return its id.

        Args:
            definition: The schedule.
            tick: The tick.
            last: The tick before it, as `_last` found it.
            state: The state of that one's command.

        Raises:
            NamedValueConflictError: Another tick of the same work was enqueued since `last` was read.
            CatgaError: As `enqueue`.
        """
        # First of all: the application's function may fail.
        command: Any = definition.command_of(tick)
        debounce = definition.debounce_seconds
        if debounce is None and definition.overlap is OnOverlap.SKIP:
            # Before it is enqueued, so that of two ticks at once one sees the other. After a crash between the two it is
            # enqueued again, and known by its id.
            await self._values().compare_and_set(definition.enqueued_key, tick, expected=last)
        key = f"schedule:{definition.work}" if definition.overlap is OnOverlap.WAIT else None
        at = None if debounce is None else moment_of(tick + round(debounce * 1_000), UTC)
        made = await self._mediator.enqueue(command, message_id=definition.message_id(tick), key=key, at=at)
        if debounce is not None:
            # Once the later one is kept: a failure or a crash before leaves the earlier one waiting.
            if last is not None and last != tick and state is QueueState.SCHEDULED:
                await self._mediator.cancel(self._id(definition, last))
            await self._values().compare_and_set(definition.enqueued_key, tick, expected=last)
        self._enqueued += 1
        return made

    async def _last(self, definition: ScheduleDefinition) -> tuple[int | None, QueueState | None]:
        """Return the last tick of the same work that was enqueued, and the state of its command, where these matter."""
        if definition.overlap is not OnOverlap.SKIP and definition.debounce_seconds is None:
            return None, None
        last = await self._values().get(definition.enqueued_key)
        if last is None:
            return None, None
        found = await self._mediator.enqueued(self._id(definition, last))
        return last, None if found is None else found.state

    @staticmethod
    def _id(definition: ScheduleDefinition, tick: int) -> ScheduledId:
        cls: type[Any] = definition.command_of(tick).__class__
        return scheduled_as(message_type(cls).name, definition.message_id(tick))

    async def _state(self, definition: ScheduleDefinition) -> ScheduleState:
        last = await self._values().get(definition.key)
        following = next(definition.ticks.after(self._now()), None)
        return ScheduleState(
            definition.name,
            definition.ticks.text,
            None if last is None else last / 1_000,
            None if following is None else following / 1_000,
        )

    def _now(self) -> int:
        return int(self._clock.time() * 1_000)


def _due(definition: ScheduleDefinition, last: int, latest: int, now: int) -> tuple[Sequence[int], int]:
    """Return the ticks to enqueue, and the tick that is done with them."""
    if definition.missed is OnMissed.ALL:
        ticks = [tick for tick in islice(definition.ticks.after(last), _AT_ONCE) if tick <= latest]
        return ticks, ticks[-1]
    if definition.missed is OnMissed.NONE and now - latest > definition.grace_seconds * 1_000:
        logger().warning(TICKS_MISSED, schedule=definition.name, last_seconds_ago=(now - latest) / 1_000)
        return (), latest
    return (latest,), latest


def _failed(error: Exception, delay: float) -> None:
    notes = " ".join(getattr(error, "__notes__", ()))
    logger().error(
        SCHEDULE_FAILED, error=f"{type(error).__name__}: {error} {notes}", retry_in_seconds=round(delay, 3)
    )
