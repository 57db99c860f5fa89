"""How a follower is told to stop, to go on, or to look again, wherever it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from catga_core.clock import Clock


class Control:
    """What the owner of a follower says to it."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._awake = asyncio.Event()

    def is_stopping(self) -> bool:
        """Tell whether it is to end when what it does at the moment is done."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Have it end."""
        self._stopping.set()
        self._awake.set()

    def wake(self) -> None:
        """Have it look again instead of waiting any longer."""
        self._awake.set()

    async def pause(self, seconds: float, clock: Clock) -> None:
        """Return after so many seconds of a clock, or when it is woken.

        Parameters:
            seconds: how long.
            clock: whose seconds.
        """
        await self.wait_for(clock.sleep(seconds))

    async def until_woken(self) -> None:
        """Return when it is woken."""
        await self._awake.wait()
        self._rest()

    async def wait_for(self, something: Coroutine[Any, Any, object]) -> None:
        """Return when something is over, or when it is woken; what it raises is raised.

        Parameters:
            something: is cancelled where it is not over.
        """
        waiting = asyncio.ensure_future(something)
        woken = asyncio.ensure_future(self._awake.wait())
        try:
            await asyncio.wait([waiting, woken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            waiting.cancel()
            # Gathered also when we are cancelled ourselves: nobody else would see what they raise.
            await asyncio.gather(waiting, woken, return_exceptions=True)
        self._rest()
        if not waiting.cancelled():
            waiting.result()

    def _rest(self) -> None:
        if not self.is_stopping():
            self._awake.clear()
