"""`TickEnqueuer`: enqueues the command of a tick, by its schedule's `overlap` and `debounce`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import MessageIdConflictError
from catga_core.features.scheduling.definition import OnOverlap, ScheduleDefinition
from catga_core.features.scheduling.ticks import moment_of
from catga_core.interfaces.named_values import NamedValueConflictError, NamedValueStore
from catga_core.interfaces.queue import QueueState
from catga_core.interfaces.storage import Storage
from catga_core.log import SCHEDULE_UNHANDLED, TICK_SKIPPED, logger
from catga_core.mediator import CatgaMediator
from catga_core.messages import Command, MessageType, message_type
from catga_core.messages.scheduled import ScheduledId, scheduled_as


class TickEnqueuer:
    """Enqueues commands of ticks.

    Args:
        values: Returns the store of the last enqueued ticks.
        storage: Returns the current storage.
        mediator: Enqueues the commands.
        clock: The container's clock.
        joins: Returns whether an enqueued command is part of the storage's unit of work.
        handles: Returns whether commands of a type have a handler in this process.

    Attributes:
        without_handler: By the schedule's name, the commands that have no handler in this process.
    """

    def __init__(
        self,
        values: Callable[[], NamedValueStore],
        storage: Callable[[], Storage],
        mediator: CatgaMediator,
        clock: Clock,
        joins: Callable[[], bool],
        handles: Callable[[MessageType], bool],
    ) -> None:
        self.without_handler: dict[str, str] = {}
        self._values = values
        self._storage = storage
        self._mediator = mediator
        self._clock = clock
        self._joins = joins
        self._handles = handles

    @property
    def joins(self) -> bool:
        """Whether an enqueued command is part of the storage's unit of work."""
        return self._joins()

    def unit_of_work(self) -> AbstractAsyncContextManager[object]:
        """Return a unit of work if the queues join one, else a null context."""
        return self._storage().unit_of_work() if self._joins() else nullcontext()

    def check_handler(self, definition: ScheduleDefinition, command: Command[Any]) -> None:
        """Log once per schedule that this process has no handler for its command."""
        described = message_type(type(command))
        if self._handles(described):
            return
        if self.without_handler.get(definition.name) != described.name:
            self.without_handler[definition.name] = described.name
            logger().warning(
                SCHEDULE_UNHANDLED,
                schedule=definition.name,
                command=described.name,
                hint="No handler of the command is registered in this process. Check that another process which shares the "
                "queues has one: the commands wait for it.",
            )

    async def enqueue(self, definition: ScheduleDefinition, tick: int) -> bool:
        """Enqueue the command of a tick, unless `overlap` skips it.

        Returns:
            Whether it was enqueued.

        Raises:
            NamedValueConflictError: Another tick of the same work was enqueued at the same time.
            MessageIdConflictError: Another schedule of the key has enqueued another command for the tick.
            CatgaError: As `CatgaMediator.enqueue`.
        """
        last, state = await self._last(definition)
        if definition.overlap is OnOverlap.SKIP:
            replaced = definition.debounce_seconds is not None and state is QueueState.SCHEDULED
            if last != tick and not replaced and state not in {None, QueueState.DONE}:
                message_id = definition.message_id(tick)
                logger().warning(TICK_SKIPPED, schedule=definition.name, message_id=message_id)
                return False
        await self._enqueue(definition, tick, last, state)
        return True

    async def run_now(self, definition: ScheduleDefinition) -> ScheduledId:
        """Enqueue the command of a schedule now, replacing a waiting one; return its id.

        Raises:
            CatgaError: As `CatgaMediator.enqueue`; the one that waits goes on waiting then.
        """
        tick = int(self._clock.time() * 1_000)
        while True:
            try:
                async with self.unit_of_work():
                    return await self._enqueue(definition, tick, *await self._last(definition))
            except NamedValueConflictError:
                # Another replica was first.
                await asyncio.sleep(0)

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
            CatgaError: As `CatgaMediator.enqueue`.
        """
        # First, because the application's function may fail.
        command: Any = definition.command_of(tick)
        cls: type[Any] = command.__class__
        self.check_handler(definition, command)
        debounce = definition.debounce_seconds
        if debounce is None and definition.overlap is OnOverlap.SKIP:
            # Before it is enqueued, so that of two concurrent ticks one sees the other. After a crash in between, it is
            # enqueued again, and deduplicated by its id.
            await self._values().compare_and_set(definition.enqueued_key, tick, expected=last)
        key = f"schedule:{definition.work}" if definition.overlap is OnOverlap.WAIT else None
        at = None if debounce is None else moment_of(tick + round(debounce * 1_000), UTC)
        message_id = definition.message_id(tick)
        try:
            made = await self._mediator.enqueue(command, message_id=message_id, key=key, at=at)
        except MessageIdConflictError:
            if self._joins() or definition.work != definition.name:
                raise
            # Another replica was first, with a command from another call of the application's function.
            made = scheduled_as(message_type(cls).name, message_id)
        if debounce is not None:
            # After the later one is stored: an earlier failure or crash leaves the earlier one waiting.
            if last is not None and last != tick and state is QueueState.SCHEDULED:
                await self._mediator.cancel(_id(definition, last))
            await self._values().compare_and_set(definition.enqueued_key, tick, expected=last)
        return made

    async def _last(self, definition: ScheduleDefinition) -> tuple[int | None, QueueState | None]:
        """Return the last enqueued tick of the same work and its command's state, if needed."""
        if definition.overlap is not OnOverlap.SKIP and definition.debounce_seconds is None:
            return None, None
        last = await self._values().get(definition.enqueued_key)
        if last is None:
            return None, None
        found = await self._mediator.enqueued(_id(definition, last))
        return last, None if found is None else found.state


def _id(definition: ScheduleDefinition, tick: int) -> ScheduledId:
    cls: type[Any] = definition.command_of(tick).__class__
    return scheduled_as(message_type(cls).name, definition.message_id(tick))
