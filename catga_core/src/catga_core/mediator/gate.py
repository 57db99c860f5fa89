"""Whether messages are accepted now, and how many of them are in flight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from catga_core.errors import CatgaError
from catga_core.mediator.refusals import elsewhere, not_running
from catga_core.mediator.routes import RouteSource
from catga_core.messages import MessageType
from catga_core.messages.context import active_context
from catga_core.runtime.home_loop import HomeLoop

T = TypeVar("T")


class Gate:
    """What every message passes on its way in: it is closed, open, or draining.

    Args:
        source: Tells the service's name.

    Attributes:
        waiting: How many messages are in flight that no dispatch counts.
        home: The event loop that the container runs in.
    """

    __slots__ = ("_draining", "_source", "ended", "home", "is_open", "waiting")

    def __init__(self, source: RouteSource) -> None:
        self._source = source
        self._draining = False
        self.is_open: bool = False
        self.ended: bool = False
        self.waiting: int = 0
        self.home: HomeLoop = HomeLoop()

    def open(self) -> None:
        """Accept every message that is sent in the running event loop."""
        self.home.enter()
        self.is_open, self._draining, self.ended = True, False, False

    def refuse(self) -> None:
        """Accept only messages that belong to one being handled, and those that were stored."""
        self.is_open, self._draining, self.ended = False, True, False

    def close(self) -> None:
        """Accept none."""
        self.is_open, self._draining, self.ended = False, False, True

    def refusal(self, described: MessageType) -> CatgaError | None:
        """Return why the running task cannot send a message now, `None` where it can."""
        if self.is_open or (self._draining and active_context.get() is not None):
            return None
        return self._not_running(described)

    def elsewhere(self, described: MessageType) -> CatgaError | None:
        """Return why the running event loop cannot send a message, `None` where it can, and outside of any loop.

        Not asked for each message without options: it would cost more than a twentieth of a bare `send` (decision 0040).
        """
        if (problem := self.home.problem()) is None:
            return None
        return elsewhere(described, self._source.service_name, problem)

    def refusal_of_stored(self, described: MessageType) -> CatgaError | None:
        """Return why a stored message cannot be sent now, `None` where it can."""
        return None if self.is_open or self._draining else self._not_running(described)

    def counting(self, call: Callable[[Any], Awaitable[T]]) -> Callable[[Any], Coroutine[Any, Any, T]]:
        """Return a call that counts every message while it runs."""

        async def counted(message: Any) -> T:
            self.waiting += 1
            try:
                return await call(message)
            finally:
                self.waiting -= 1

        return counted

    def _not_running(self, described: MessageType) -> CatgaError:
        return not_running(described, self._source.service_name, ended=self.ended)
