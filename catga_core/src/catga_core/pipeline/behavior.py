"""What an application puts around its handlers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar

from catga_core.messages.results import CatgaResult

M = TypeVar("M")
R = TypeVar("R")

Next: TypeAlias = Callable[[M], Awaitable[CatgaResult[R]]]
"""The rest of the pipeline: call it with the message to go on, or do not and answer instead."""


class Behavior(ABC, Generic[M, R]):
    """Runs around the handling of messages: before, after, instead.

    Derive from `Behavior[CreateOrder, OrderResult]` for one message type, from `Behavior[Command[Any], Any]` for a base
    and all below it, or from `Behavior[Any, Any]` for everything; register it with `add_behavior`. Its constructor
    takes services by type, the message's scoped ones included. `current_context()` tells it which message this is.
    """

    @abstractmethod
    async def handle(self, message: M, next: Next[M, R]) -> CatgaResult[R]:
        """Return the message's result, usually the one of `await next(message)`.

        Args:
            message: The message as the behaviors before this one passed it on.
            next: The rest of the pipeline; what the handler raises is a failed result here, what an inner behavior
                raises passes through.

        Raises:
            Exception: Becomes a failed result, as in a handler.
        """


AnyBehavior: TypeAlias = Behavior[Any, Any]
