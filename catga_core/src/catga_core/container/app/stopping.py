"""Stops services one by one; a failure does not affect the others, and a second signal ends the waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from catga_core.errors import CatgaError, ErrorCode
from catga_core.handlers.hints import shown
from catga_core.interfaces.transport import TransportLifecycle
from catga_core.runtime.cancellation import being_cancelled
from catga_core.runtime.waiter import Waiter

_POLL_SECONDS = 0.005


class Stopping:
    """One stop of a container: its time limit, and the errors so far.

    Args:
        limit: Seconds for the messages in flight, and for each service.
        hurry: Closed by a second signal.
    """

    __slots__ = ("_hurry", "_limit", "errors")

    def __init__(self, limit: float, hurry: Waiter) -> None:
        self._limit = limit
        self._hurry = hurry
        self.errors: list[Exception] = []

    async def services(self, started: Sequence[tuple[Any, Any]], *, hurry: bool = False) -> None:
        """Stop hosted services in reverse order.

        Args:
            started: Each by its type, in the order of their start.
            hurry: Whether a second signal ends the waiting for them.
        """
        for service, made in reversed(started):
            stopping = self._service(service, made)
            await (self._unless_hurried(stopping) if hurry else stopping)

    async def messages(self, transports: Sequence[TransportLifecycle], in_flight: Callable[[], int]) -> int:
        """Wait for the messages in flight.

        Args:
            transports: Drained first: they take no more messages.
            in_flight: Returns how many messages are being handled.

        Returns:
            How many messages are left.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._limit
        if transports:
            draining = (self._collect(each.drain(self._limit)) for each in transports)
            await self._unless_hurried(_all(draining))
        # An event would cost every message something, so the count is polled.
        while in_flight() and loop.time() < ends_at and not self._hurry.closed:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_POLL_SECONDS)
        return in_flight()

    async def transport(self, transport: TransportLifecycle) -> None:
        """Close a transport."""
        await self._collect(transport.close())

    async def _service(self, service: Any, made: Any) -> None:
        try:
            async with asyncio.timeout(max(self._limit, 1.0)):
                await made.stop()
        except asyncio.CancelledError:
            # A service that awaits a task it has cancelled raises this, and has stopped; only our own cancellation goes on.
            if being_cancelled():
                raise
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            error.add_note(f"while stopping {shown(service)}")
            self.errors.append(error)

    async def _unless_hurried(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for work until a second signal."""
        # A task begins even after the signal: every service is asked to stop.
        await self._hurry.wait(work=asyncio.ensure_future(work))

    async def _collect(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            text = "the transport raised CancelledError while it stopped"
            self.errors.append(CatgaError(text, code=ErrorCode.INTERNAL_ERROR))
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            self.errors.append(error)


async def _all(works: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*works)
