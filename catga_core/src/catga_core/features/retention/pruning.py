"""`Pruning`: removes entries whose retention time is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from catga_core.clock import Clock
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import PRUNING_FAILED, logger
from catga_core.runtime.worker import Worker

Prune: TypeAlias = Callable[[], Awaitable[int]]
"""Removes one portion of a store's expired entries, and returns their number."""


class Pruning:
    """A hosted service that prunes stores periodically, in portions so that no other write waits for long.

    Args:
        stores: What prunes each store, by the store's name.
        clock: The container's clock.
        every: Seconds between two rounds.
    """

    def __init__(self, stores: Mapping[str, Prune], clock: Clock, every: float) -> None:
        self._stores = stores
        self._removed = dict.fromkeys(stores, 0)
        self._failed: dict[str, str] = {}
        self._worker = Worker("pruning", self._turn, every=every, clock=clock, first=False)

    async def start(self) -> None:
        """Begin to prune, the first time after one interval."""
        self._worker.start()

    async def stop(self) -> None:
        """Stop pruning."""
        await self._worker.stop(cancel=True)

    async def prune(self) -> int:
        """Prune every store once, now and completely.

        A store that fails is logged, and the others are pruned all the same.

        Returns:
            How many entries were removed.
        """
        removed = 0
        for name, prune in self._stores.items():
            try:
                while portion := await prune():
                    removed += portion
                    self._removed[name] += portion
                self._failed.pop(name, None)
            except Exception as error:  # noqa: BLE001 - nothing is lost by pruning later
                self._failed[name] = f"{type(error).__name__}: {error}"
                logger().warning(PRUNING_FAILED, store=name, error=self._failed[name])
        return removed

    def health(self) -> Health:
        """Return how many entries were removed, and which stores could not be pruned in the last round."""
        details = {"removed": dict(self._removed)}
        if self._failed:
            text = "; ".join(f"{name} could not be pruned: {error}" for name, error in self._failed.items())
            return Health(HealthStatus.DEGRADED, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    async def _turn(self) -> None:
        await self.prune()
