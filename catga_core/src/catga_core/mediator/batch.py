"""Sends many requests, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

from catga_core.messages.results import CatgaResult, Failure
from catga_core.runtime.cancellation import cancelled_itself

R = TypeVar("R")


class Batch(Generic[R]):
    """Requests that are sent in the tasks of one batch.

    A handler in this process runs in one of these tasks. Where it cancels that task, its own result is a failure, and another
    task goes on with the requests that are left.

    Args:
        send: Sends one request.
        requests: Taken one by one as room becomes free.
        limit: How many are sent at the same time.
    """

    __slots__ = (
        "_cancelled_before",
        "_group",
        "_limit",
        "_numbered",
        "_raised",
        "_results",
        "_send",
        "_sender",
        "_workers",
    )

    def __init__(
        self, send: Callable[[Any], Awaitable[CatgaResult[R]]], requests: Iterable[Any], limit: int
    ) -> None:
        self._send = send
        self._numbered = enumerate(requests)
        self._limit = limit
        self._results: dict[int, CatgaResult[R]] = {}
        self._workers = 1
        self._raised: BaseException | None = None
        self._group = asyncio.TaskGroup()
        sender: Any = asyncio.current_task()
        self._sender: asyncio.Task[Any] = sender
        self._cancelled_before: int = sender.cancelling()

    async def results(self) -> list[CatgaResult[R]]:
        """Send the requests and return their results in the same order.

        Raises:
            BaseException: What `send` or the iterable has raised.
        """
        try:
            async with self._group:
                self._group.create_task(self._work())
        except BaseExceptionGroup as several:
            # Only an argument that is not a request, or the iterable, can raise: the caller sees it as from send().
            raise several.exceptions[0] from None
        if self._raised is not None:
            raise self._raised
        return [self._results[number] for number in range(len(self._results))]

    @property
    def _ended(self) -> bool:
        return self._raised is not None or self._sender.cancelling() > self._cancelled_before

    async def _work(self) -> None:
        try:
            await self._send_rest()
        except BaseException as error:
            if not self._ended:
                self._raised = error
            raise

    async def _send_rest(self) -> None:
        task: Any = asyncio.current_task()
        for number, request in self._numbered:
            if self._workers < self._limit:
                # One more for what comes next: as many as there are requests, whatever the limit.
                self._workers += 1
                self._group.create_task(self._work())
            try:
                self._results[number] = await self._send(request)
            except asyncio.CancelledError:
                if self._ended:
                    raise
                self._results[number] = Failure(cancelled_itself(type(request).__name__))
            if task.cancelling():
                # By its handler, unless the batch ends: the next request would be cancelled where it first waits.
                if not self._ended:
                    self._group.create_task(self._work())
                return
