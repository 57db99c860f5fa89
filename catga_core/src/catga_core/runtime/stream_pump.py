"""`StreamPump`: sends the items of a handler's stream, until it ends or its receiver does not want more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any


class StreamPump:
    """Moves items in the task that calls `run`; `leave` and `cancel` end it from outside of that task.

    The generator is always ended when `run` returns: closed where it waits at a `yield` and its receiver left, as a loop that is
    left early closes it; cancelled or failed in every other case.

    Args:
        send: Sends one item; it waits while the receiver has not consumed enough.
    """

    __slots__ = ("_asked", "_left", "_send", "_stopped", "_task")

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self._send = send
        self._task: asyncio.Task[Any] | None = None
        self._asked = False  # whether the task has a cancellation of ours that is not withdrawn
        self._left = False
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether it was ended from outside."""
        return self._stopped

    def leave(self) -> None:
        """End the stream: its receiver has left the loop."""
        self._left = True
        self.cancel()

    def cancel(self) -> None:
        """Cancel the stream: its receiver was cancelled or lost."""
        if self._stopped:
            return
        self._stopped = True
        if self._task is not None:
            self._asked = True
            self._task.cancel()

    async def run(self, items: AsyncGenerator[Any, None]) -> None:
        """Send every item; returns as well when the stream was stopped from outside.

        Args:
            items: The handler's stream.

        Raises:
            asyncio.CancelledError: The task was cancelled by another than `leave` and `cancel`.
            BaseException: What the stream or `send` has failed with.
        """
        self._task = asyncio.current_task()
        try:
            await self._move(items)
        except asyncio.CancelledError:
            if not self.stopped:
                raise
        except Exception:
            # No one waits for what a stream failed with that was stopped.
            if not self.stopped:
                raise
        finally:
            self._withdraw()
            self._task = None

    async def _move(self, items: AsyncGenerator[Any, None]) -> None:
        while not self._over():
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            # A handler may swallow its cancellation and go on.
            if self._over():
                break
            try:
                await self._send(item)
            except BaseException as error:
                if self._over() and self._left:
                    break
                await _throw(items, error)
                raise
        self._withdraw()
        await items.aclose()

    def _over(self) -> bool:
        return self._stopped

    def _withdraw(self) -> None:
        if self._asked and self._task is not None:
            self._asked = False
            self._task.uncancel()


async def _throw(items: AsyncGenerator[Any, None], error: BaseException) -> None:
    """Have a generator that waits at a `yield` end by an error."""
    try:
        await items.athrow(error)
    except StopAsyncIteration:
        return
    except BaseException as raised:
        if raised is error:
            return
        raise
    # It has swallowed the error and yielded another item.
    await items.aclose()
