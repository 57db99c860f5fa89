"""Calls a projection: its methods through its pipelines, `reset` and `remove` in a scope of their own."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from catga_core.event_sourcing.consumers import Handle
from catga_core.event_sourcing.projections.context import ProjectionContext, active_projection
from catga_core.event_sourcing.projections.projection import Projection


class ProjectionHandling:
    """Calls one projection.

    Args:
        deliver: Delivers an event to the projection; the caller sets `active_projection` around it.
        use: Calls a function with the projection in its own scope.
    """

    def __init__(
        self, deliver: Handle, use: Callable[[Callable[[Projection], Awaitable[None]]], Awaitable[None]]
    ) -> None:
        self.deliver: Handle = deliver
        self._use = use

    async def reset(self, context: ProjectionContext) -> None:
        """Call the projection's `reset`."""
        await self._hook(context, lambda projection: projection.reset())

    async def remove(self, context: ProjectionContext) -> None:
        """Call the projection's `remove`."""
        await self._hook(context, lambda projection: projection.remove())

    async def _hook(self, context: ProjectionContext, hook: Callable[[Projection], object]) -> None:
        async def call(projection: Projection) -> None:
            returned = hook(projection)
            if inspect.isawaitable(returned):
                await returned

        token = active_projection.set(context)
        try:
            await self._use(call)
        finally:
            active_projection.reset(token)
