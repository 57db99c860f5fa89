"""Keeps what health tells true where a follower does not see it by itself: on standby, stopped, or busy for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from catga_core.event_sourcing.consumers.control import Control
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.event_sourcing.consumers.progress import Progress
from catga_core.event_sourcing.consumers.replaying import parked_by
from catga_core.event_sourcing.consumers.waiting import look
from catga_core.runtime.retry import scattered


class Observer:
    """Looks at the head of the log, at checkpoints that others save, and at what is parked.

    Parameters:
        ports: where it looks.
        name: the projection or subscription.
        parts: what it tells.
        seconds: real seconds between two looks.
    """

    def __init__(
        self, ports: FollowerPorts, name: str, parts: Callable[[], Sequence[Progress]], seconds: float
    ) -> None:
        self._ports = ports
        self._name = name
        self._parts = parts
        self._seconds = seconds
        self._control = Control()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name=f"catga observer of {self._name}")

    async def stop(self) -> None:
        """Look no more."""
        self._control.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def look(self) -> None:
        """Look once."""
        ports, parts = self._ports, self._parts()
        head = await ports.log.head()
        parked = await ports.dead_letters.count(parked_by(self._name))
        for each in parts:
            each.parked = parked
            each.saw_head(max(head, each.head))
            if not each.at_work:
                await look(each, ports)

    async def _run(self) -> None:
        while not self._control.is_stopping():
            # A storage that is away is the followers' to tell.
            with contextlib.suppress(Exception):
                await self.look()
            await self._control.wait_for(asyncio.sleep(scattered(self._seconds)))
