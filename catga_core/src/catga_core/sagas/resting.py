"""`Rest`: tracks the running and waiting branches of a run, and suspends it when all wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Final

import msgspec

from catga_core.clock import Clock
from catga_core.runtime.tasks import background_task
from catga_core.sagas.branches import Branch

_CHECK_SECONDS: Final = 1.0
"""Between two checks for a signal while the saga stays in memory, where no other process and no commit wakes it."""


class Block(msgspec.Struct, eq=False):
    """A branch that waits.

    Args:
        branch: The branch.
        until: When its wait ends, seconds since the Unix epoch; `None` for no limit.
        topic: What it waits for, `None` for a time only.
        check_at: When it checks again while the saga stays in memory, `None` for never.
        ended: Done when the branch is to check again.
    """

    branch: Branch
    until: float | None
    topic: str | None
    check_at: float | None
    ended: asyncio.Future[None]


class Rest:
    """Wakes waiting branches, and suspends the saga when all wait for a while.

    Args:
        clock: The container's clock.
        linger: Seconds for which a saga that waits stays in memory.
        ends: Returns whether the run ends.
        may_rest: Returns whether the saga may be suspended; called when every branch waits.
        suspend: Suspends the saga; receives the earliest time that a branch waits for, `None` without one.
    """

    def __init__(
        self,
        clock: Clock,
        linger: float,
        *,
        ends: Callable[[], bool],
        may_rest: Callable[[], bool],
        suspend: Callable[[float | None], None],
    ) -> None:
        self.running: int = 1
        self._clock = clock
        self._linger = linger
        self._ends = ends
        self._may_rest = may_rest
        self._suspend = suspend
        self._blocks: set[Block] = set()
        self._timer: asyncio.Task[None] | None = None

    @property
    def topics(self) -> Sequence[str]:
        """The topics that branches wait for."""
        return [block.topic for block in self._blocks if block.topic is not None]

    async def wait(self, branch: Branch, until: float | None, topic: str | None) -> None:
        """Wait for a time or a topic; return when the branch is to check again.

        Args:
            branch: The waiting branch.
            until: As in `Block`.
            topic: As in `Block`.
        """
        check_at = until if topic is None else self._clock.time() + _CHECK_SECONDS
        if until is not None and check_at is not None:
            check_at = min(check_at, until)
        block = Block(branch, until, topic, check_at, asyncio.get_running_loop().create_future())
        self._blocks.add(block)
        self.running -= 1
        try:
            self.look()
            await block.ended
        finally:
            self._blocks.discard(block)
            self.running += 1

    def notify(self, topic: str) -> None:
        """Wake the branches that wait for a topic."""
        for block in self._blocks:
            if block.topic == topic:
                end(block.ended)

    def wake_all(self) -> None:
        """Wake every waiting branch."""
        for block in self._blocks:
            end(block.ended)

    def wake_failed(self) -> None:
        """Wake the branches with a failed sibling."""
        for block in self._blocks:
            if block.branch.has_failed_sibling:
                end(block.ended)

    def look(self) -> None:
        """Suspend the saga if every branch waits, or schedule a wake-up for a short wait."""
        if self.running:
            # It stays in memory, regardless of the wait's length.
            if self._blocks and not self._ends():
                self._wake_in_memory()
            return
        if not self._may_rest() or not self._blocks or any(block.ended.done() for block in self._blocks):
            return
        due_at = min((block.until for block in self._blocks if block.until is not None), default=None)
        if due_at is not None and due_at - self._clock.time() <= self._linger:
            self._wake_in_memory()
        else:
            self._suspend(due_at)

    def close(self) -> None:
        """Cancel all wake-ups."""
        if self._timer is not None:
            self._timer.cancel()

    def _wake_in_memory(self) -> None:
        due_at = min((block.check_at for block in self._blocks if block.check_at is not None), default=None)
        if due_at is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        seconds = due_at - self._clock.time()
        self._timer = background_task(self._wake_those_due(seconds), context=Context())

    async def _wake_those_due(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)
        self._timer = None
        now = self._clock.time()
        for block in self._blocks:
            if block.check_at is not None and block.check_at <= now:
                end(block.ended)
        self.look()


def end(future: asyncio.Future[None]) -> None:
    """End a wait, unless it has ended."""
    if not future.done():
        future.set_result(None)
