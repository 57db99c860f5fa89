"""The projections, subscriptions and event publishers of one application: how far they are behind its event log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from catga_core import CatgaContainer
from catga_core.errors import CatgaError
from catga_core.event_sourcing.consumers import ConsumerPorts
from catga_core.event_sourcing.consumers.directory import ConsumerWorker
from catga_core.event_sourcing.consumers.progress import not_run_here
from catga_core.event_sourcing.hosting import hosted_of
from catga_core.event_sourcing.projections import Projections
from catga_core.event_sourcing.subscriptions import Subscriptions
from catga_testing.recording.network import NotSettledError


class Consumers:
    """The consumers that run in one application under test.

    Args:
        catga: The running container.
        service: The application's name, for errors.
    """

    def __init__(self, catga: CatgaContainer, service: str) -> None:
        self._catga = catga
        self._service = service
        kinds = {hosted.kind for each in catga.providers.values() if (hosted := hosted_of(each)) is not None}
        self._has_projections = "projection" in kinds
        self._has_subscriptions = bool(kinds - {"projection"})

    def __bool__(self) -> bool:
        return self._has_projections or self._has_subscriptions

    async def head(self) -> int:
        """Return the last position of the application's log."""
        return await self._catga.get(ConsumerPorts).log.head()

    async def reach(self, position: int, ends_at: float) -> None:
        """Return when every consumer is done up to a position.

        Args:
            position: The position.
            ends_at: The time of the loop at which to give up.

        Raises:
            NotSettledError: Naming a consumer that was not done in time, or has stopped.
        """
        for worker in self._workers():
            left = ends_at - asyncio.get_running_loop().time()
            try:
                await worker.wait_for(position, max(left, 0.0))
            except CatgaError as error:
                msg = f"not settled: in {self._service}, {error.message}"
                raise NotSettledError(msg) from error

    def _workers(self) -> Iterable[ConsumerWorker]:
        found: list[ConsumerWorker] = []
        if self._has_projections:
            projections = self._catga.get(Projections)
            found += map(projections.worker, projections.names)
        if self._has_subscriptions:
            subscriptions = self._catga.get(Subscriptions)
            found += map(subscriptions.worker, subscriptions.names)
        return [each for each in found if not not_run_here(each.parts)]
