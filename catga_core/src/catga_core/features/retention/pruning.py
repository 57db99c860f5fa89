"""Removes what need not be remembered any longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import TypeAlias

from catga_core.clock import Clock
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import PRUNING_FAILED, logger
from catga_core.runtime.retry import scattered

Prune: TypeAlias = Callable[[], Awaitable[int]]
"""Removes one portion, and returns how many there were."""


class Pruning:
    """A hosted service that prunes stores again and again, a portion at a time so that nobody has to wait for it.

    Parameters:
        stores: what prunes each store, by the store's name.
        clock: the container's.
        every: seconds between two rounds.
    """

    def __init__(self, stores: Mapping[str, Prune], clock: Clock, every: float) -> None:
        self._stores = stores
        self._clock = clock
        self._every = every
        self._removed = dict.fromkeys(stores, 0)
        self._failed: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to prune, the first time after one interval."""
        self._task = asyncio.create_task(self._work(), context=Context())

    async def stop(self) -> None:
        """Stop pruning."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])

    async def prune(self) -> int:
        """Prune every store once, now, to the end; return how many entries are gone.

        A store that fails is logged and keeps nobody from pruning the others.
        """
        removed = 0
        for name, prune in self._stores.items():
            try:
                while portion := await prune():
                    removed += portion
                    self._removed[name] += portion
                self._failed.pop(name, None)
            except Exception as error:  # noqa: BLE001 - nothing is lost by pruning it later
                self._failed[name] = f"{type(error).__name__}: {error}"
                logger().warning(PRUNING_FAILED, store=name, error=self._failed[name])
        return removed

    def health(self) -> Health:
        """Tell how much was removed, and which stores could not be pruned the last time."""
        if self._failed:
            text = "; ".join(f"{name} could not be pruned: {error}" for name, error in self._failed.items())
            return Health(HealthStatus.DEGRADED, text, {"removed": dict(self._removed)})
        return Health(HealthStatus.HEALTHY, "", {"removed": dict(self._removed)})

    async def _work(self) -> None:
        while True:
            await self._clock.sleep(scattered(self._every))
            await self.prune()
