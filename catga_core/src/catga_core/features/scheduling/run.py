"""`ScheduleRun`: one schedule of this process, with its due ticks, retries and last error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import MessageIdConflictError
from catga_core.features.scheduling.definition import OnMissed, ScheduleDefinition, is_command
from catga_core.features.scheduling.enqueueing import TickEnqueuer
from catga_core.interfaces.named_values import NamedValueConflictError, NamedValueStore
from catga_core.log import SCHEDULE_FAILED, TICK_CONFLICTED, TICKS_MISSED, logger
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker

_LONGEST_WAIT_SECONDS = 30.0  # the clock may be set
_AT_ONCE = 100  # ticks that are enqueued in one transaction


class ScheduleRun:
    """Enqueues the commands of one schedule's due ticks, in a separate task.

    The last tick is kept in the storage and moved on in the transaction that enqueues the command, so that of several replicas
    one does it. Over a broker the command is enqueued before, under an id that every replica gives it. A tick that was moved past
    is never enqueued again, also when the clock is set back.

    Args:
        definition: The schedule.
        values: Returns the store of the last ticks.
        enqueuer: Enqueues the commands.
        clock: The container's clock.

    Attributes:
        enqueued: How many commands were enqueued.
        conflicts: How many ticks were passed over, because their message id is known for another command.
        conflict: The message id of the last tick, where it was passed over so; otherwise `None`.
    """

    def __init__(
        self,
        definition: ScheduleDefinition,
        values: Callable[[], NamedValueStore],
        enqueuer: TickEnqueuer,
        clock: Clock,
    ) -> None:
        self.definition = definition
        self.enqueued: int = 0
        self.conflicts: int = 0
        self.conflict: str | None = None
        self._values = values
        self._enqueuer = enqueuer
        self._clock = clock
        # When the last turn began, in milliseconds since the Unix epoch.
        self._looked_at = 0
        self._worker = Worker(
            f"schedule {definition.name}",
            self._turn,
            every=_LONGEST_WAIT_SECONDS,
            clock=clock,
            retry=RetryPolicy(max_attempts=None, delay_seconds=1.0, max_delay_seconds=_LONGEST_WAIT_SECONDS),
            idle=self._until_next,
            on_error=self._failed,
        )

    @property
    def failures(self) -> int:
        """The number of consecutive failed turns."""
        return self._worker.failures

    @property
    def last_error(self) -> str | None:
        """The error of the last turn, `None` if it succeeded."""
        return self._worker.last_error

    async def begin(self) -> None:
        """Store the time of the first start; the first tick is the next one."""
        values = self._values()
        if await values.get(self.definition.key) is None:
            with suppress(NamedValueConflictError):
                await values.compare_and_set(self.definition.key, self._now(), expected=None)

    def start(self) -> None:
        """Start to enqueue."""
        command: Any = self.definition.command
        if is_command(command):
            self._enqueuer.check_handler(self.definition, command)
        self._worker.start()

    async def stop(self) -> None:
        """Stop to enqueue."""
        await self._worker.stop()

    async def _turn(self) -> bool:
        """Enqueue due ticks; return whether more are due."""
        definition, now = self.definition, self._now()
        self._looked_at = now
        last = await self._values().get(definition.key)
        if last is None:
            # Another program has deleted it.
            await self.begin()
            return False
        latest = definition.ticks.latest(now)
        if latest is None or latest <= last:
            return False
        due, until = _due(definition, last, latest, now)
        try:
            await self._advance(due, until, last)
        except NamedValueConflictError:
            # Another replica was first.
            return True
        return until < latest

    async def _advance(self, due: Sequence[int], until: int, last: int) -> None:
        """Enqueue ticks; skip a tick whose message id is known for another command."""
        try:
            await self._enqueue(due, until, last)
        except MessageIdConflictError as error:
            if len(due) == 1:
                # First, so that a tick that another replica has already passed is not counted.
                await self._enqueue((), until, last)
                self._conflicted(due[0], error)
                return
            for tick in due:
                await self._advance((tick,), tick, last)
                last = tick
        else:
            self.conflict = None

    async def _enqueue(self, due: Sequence[int], until: int, last: int) -> None:
        """Enqueue the commands of ticks, and store the last completed tick."""
        values, key, joins = self._values(), self.definition.key, self._enqueuer.joins
        enqueued = 0
        async with self._enqueuer.unit_of_work():
            if joins:
                await values.compare_and_set(key, until, expected=last)
            for tick in due:
                enqueued += await self._enqueuer.enqueue(self.definition, tick)
            if not joins:
                # First enqueued: a crash between the two repeats the tick under the same id, and never leaves it out.
                await values.compare_and_set(key, until, expected=last)
        self.enqueued += enqueued

    def _conflicted(self, tick: int, error: MessageIdConflictError) -> None:
        self.conflicts += 1
        self.conflict = self.definition.message_id(tick)
        logger().error(
            TICK_CONFLICTED,
            schedule=self.definition.name,
            message_id=self.conflict,
            error=str(error),
            hint="The tick is passed over. Return equal commands for a tick from every schedule of a key and in every process, or "
            "give schedules of different commands different keys.",
        )

    async def _until_next(self, seconds: float) -> None:
        # After the last query, not after now: a tick that came due during this turn is included.
        tick = next(self.definition.ticks.after(self._looked_at), None)
        left = seconds if tick is None else max(0.0, (tick - self._now()) / 1_000)
        await self._clock.sleep(min(seconds, left))

    def _failed(self, error: Exception, delay: float) -> None:
        logger().error(
            SCHEDULE_FAILED,
            schedule=self.definition.name,
            error=f"{type(error).__name__}: {error}",
            failures=self.failures,
            retry_in_seconds=round(delay, 3),
        )

    def _now(self) -> int:
        return int(self._clock.time() * 1_000)


def _due(definition: ScheduleDefinition, last: int, latest: int, now: int) -> tuple[Sequence[int], int]:
    """Return the ticks to enqueue, and the last tick that they complete."""
    if definition.missed is OnMissed.ALL:
        ticks = [tick for tick in islice(definition.ticks.after(last), _AT_ONCE) if tick <= latest]
        return ticks, ticks[-1]
    if definition.missed is OnMissed.NONE and now - latest > definition.grace_seconds * 1_000:
        logger().warning(TICKS_MISSED, schedule=definition.name, last_seconds_ago=(now - latest) / 1_000)
        return (), latest
    return (latest,), latest
