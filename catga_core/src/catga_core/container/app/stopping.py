"""Stops parts one by one, so that none keeps another from stopping, and nobody has to wait who asks a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from catga_core.errors import CatgaError, ErrorCode
from catga_core.handlers.hints import shown
from catga_core.interfaces.transport import Transport
from catga_core.runtime.cancellation import being_cancelled

_POLL_SECONDS = 0.005


class Stopping:
    """One stop of a container: what went wrong so far, and how long there is.

    Parameters:
        limit: seconds for the messages in flight, and for each service.
        hurry: set when somebody asks a second time for the end.
    """

    __slots__ = ("_hurry", "_limit", "errors")

    def __init__(self, limit: float, hurry: asyncio.Event) -> None:
        self._limit = limit
        self._hurry = hurry
        self.errors: list[Exception] = []

    async def services(self, started: Sequence[tuple[Any, Any]], *, hurry: bool = False) -> None:
        """Stop hosted services in reverse.

        Parameters:
            started: each by its type, in the order in which they were started.
            hurry: whether the waiting for them ends when somebody asks a second time.
        """
        for service, made in reversed(started):
            stopping = self._service(service, made)
            await (self._unless_hurried(stopping) if hurry else stopping)

    async def messages(self, transport: Transport | None, in_flight: Callable[[], int]) -> int:
        """Wait for what is in flight, and return how much of it is left.

        Parameters:
            transport: takes no more from others, and tells when its last one has ended.
            in_flight: tells how many messages are being handled.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._limit
        if transport is not None:
            await self._unless_hurried(self._collect(transport.drain(self._limit)))
        # What is in flight cannot tell us without a cost to every message, so it is asked.
        while in_flight() and loop.time() < ends_at and not self._hurry.is_set():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_POLL_SECONDS)
        return in_flight()

    async def transport(self, transport: Transport) -> None:
        """Close the way to other processes."""
        await self._collect(transport.close())

    async def _service(self, service: Any, made: Any) -> None:
        try:
            async with asyncio.timeout(max(self._limit, 1.0)):
                await made.stop()
        except asyncio.CancelledError:
            # Who awaits the task it has cancelled raises this, and has stopped; only our own cancellation goes on.
            if being_cancelled():
                raise
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            error.add_note(f"while stopping {shown(service)}")
            self.errors.append(error)

    async def _unless_hurried(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for something, until somebody asks a second time for the end."""
        working = asyncio.ensure_future(work)
        hurried = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait([working, hurried], return_when=asyncio.FIRST_COMPLETED)
        for each in (working, hurried):
            each.cancel()
        await asyncio.wait([working, hurried])
        if not working.cancelled():
            working.result()

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
