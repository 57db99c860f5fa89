"""Whether a mediator takes messages now, and how many of them are under way that may still wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from catga_core.errors import CatgaError
from catga_core.mediator.refusals import not_running
from catga_core.mediator.routes import Route, RouteSource
from catga_core.messages import MessageType
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult
from catga_core.pipeline import run_in_context

T = TypeVar("T")


class Gate:
    """What every message passes on its way in: it is closed, open, or closing.

    Parameters:
        source: tells the service's name.
    """

    __slots__ = ("_draining", "_source", "ended", "is_open", "waiting")

    def __init__(self, source: RouteSource) -> None:
        self._source = source
        self._draining = False
        self.is_open: bool = False
        self.ended: bool = False
        self.waiting: int = 0

    def open(self) -> None:
        """Let every message through."""
        self.is_open, self._draining, self.ended = True, False, False

    def refuse(self) -> None:
        """Let only those through that belong to a message being handled, and those that were stored."""
        self.is_open, self._draining, self.ended = False, True, False

    def close(self) -> None:
        """Let none through."""
        self.is_open, self._draining, self.ended = False, False, True

    def refusal(self, described: MessageType) -> CatgaError | None:
        """Return why the running task cannot send a message now, `None` where it can."""
        if self.is_open or (self._draining and active_context.get() is not None):
            return None
        return self._not_running(described)

    def refusal_of_stored(self, described: MessageType) -> CatgaError | None:
        """Return why a message that was stored cannot be handed over now, `None` where it can."""
        return None if self.is_open or self._draining else self._not_running(described)

    async def run(self, route: Route, message: Any, context: MessageContext) -> CatgaResult[Any]:
        """Run a pipeline in a context that is given, and count it while it runs."""
        self.waiting += 1
        try:
            return await run_in_context(route.pipeline.chain, message, context)
        finally:
            self.waiting -= 1

    def counting(self, call: Callable[[Any], Awaitable[T]]) -> Callable[[Any], Coroutine[Any, Any, T]]:
        """Have every message counted that goes a way."""

        async def counted(message: Any) -> T:
            self.waiting += 1
            try:
                return await call(message)
            finally:
                self.waiting -= 1

        return counted

    def _not_running(self, described: MessageType) -> CatgaError:
        return not_running(described, self._source.service_name, ended=self.ended)
