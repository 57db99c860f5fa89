"""Who may write: one at a time, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """A lock that goes straight to who has waited longest, and that no event loop owns."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def take_now(self) -> bool:
        """Take the turn if it is free; tell whether it is the caller's."""
        free = not self._taken
        self._taken = True
        return free

    async def take(self, patience: float) -> bool:
        """Wait for the turn.

        Parameters:
            patience: seconds of real time to wait at most.

        Returns:
            whether it is the caller's, who gives it back.
        """
        if self.take_now():
            return True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_later(patience, _give_up, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.result():
                # It was given to one who is not there any more.
                self.give_back()
            raise
        finally:
            timer.cancel()

    def give_back(self) -> None:
        """Give the turn to the next one."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(True)
                return
        self._taken = False


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
