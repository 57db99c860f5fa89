"""The classes a handler derives from; a plain function does as well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from catga_core.messages import Event, Request, StreamQuery
from catga_core.messages.results import CatgaResult

Q = TypeVar("Q", bound=Request[Any])
S = TypeVar("S", bound=StreamQuery[Any])
E = TypeVar("E", bound=Event)
R = TypeVar("R")
T = TypeVar("T")


class RequestHandler(ABC, Generic[Q, R]):
    """Handles one type of command or query: derive from `RequestHandler[CreateOrder, OrderResult]`.

    What it needs it takes in its constructor, by type. An equally good handler is a function
    `async def create_order(message: CreateOrder, orders: OrderRepository) -> OrderResult`.
    """

    @abstractmethod
    async def handle(self, message: Q) -> R | CatgaResult[R]:
        """Do what the message asks and return its result.

        A raised `CatgaError` becomes a failed result with its code, any other exception one with `HANDLER_FAILED`.

        Args:
            message: The request.
        """


class EventHandler(ABC, Generic[E]):
    """Reacts to one type of event: derive from `EventHandler[OrderCreated]`."""

    @abstractmethod
    async def handle(self, message: E) -> None:
        """React to the event; what it raises is recorded and reaches neither the publisher nor other handlers.

        Args:
            message: The event.
        """


class StreamHandler(ABC, Generic[S, T]):
    """Answers one type of stream query with many items: derive from `StreamHandler[ListOrders, Order]`."""

    @abstractmethod
    def handle(self, message: S) -> AsyncIterator[T]:
        """Return the items, usually as an async generator (`async def` with `yield`).

        Args:
            message: The query.
        """
