"""Handlers that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from catga_core import MessageContext
from catga_testing.contracts.limits import PATIENCE
from catga_testing.waiting import NotInTimeError


class Changes:
    """Lets a test wait for a state that handlers change; telling of a change never waits."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Have everyone look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], bool], seen: Callable[[], str]) -> None:
        """Return when something holds.

        Args:
            holds: Looks.
            seen: Tells what there is, for the error.

        Raises:
            NotInTimeError: When it does not in time.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        except TimeoutError:
            msg = f"after {PATIENCE:g} s {seen()}"
            raise NotInTimeError(msg) from None


class Gate:
    """A handler that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered: int = 0
        self.left: int = 0
        self.cancelled: int = 0
        self.most: int = 0
        self._open = asyncio.Event()
        self._changes = Changes()

    async def __call__(self, message: Any, _context: MessageContext) -> str:
        """Wait for `open`, then answer with the message's own text or number."""
        self.entered += 1
        self.most = max(self.most, self.entered - self.left)
        self._changes.tell()
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        else:
            self.left += 1
        finally:
            self._changes.tell()
        return str(getattr(message, "text", None) or getattr(message, "number", ""))

    def open(self) -> None:
        """Let everyone through, now and later."""
        self._open.set()

    async def until(self, *, entered: int = 0, left: int = 0) -> None:
        """Return when so many messages have come in and gone out, and none was cancelled.

        Args:
            entered: How many messages in all.
            left: How many of them were handled to the end.

        Raises:
            NotInTimeError: When they have not in time.
        """
        await self._changes.until(
            lambda: self.cancelled > 0 or (self.entered >= entered and self.left >= left),
            lambda: f"{self.entered} messages had come in and {self.left} gone out, not {entered} and {left}",
        )
        assert not self.cancelled, f"{self.cancelled} handlers were cancelled"


class Inbox:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, MessageContext]] = []
        self._changes = Changes()

    async def __call__(self, message: Any, context: MessageContext) -> str:
        """Keep the message, and answer with its own text; it does not wait."""
        self.got.append((message, context))
        self._changes.tell()
        return str(getattr(message, "text", ""))

    @property
    def messages(self) -> list[Any]:
        """What has come so far."""
        return [message for message, _ in self.got]

    async def until(self, count: int) -> None:
        """Return when so many messages have come.

        Args:
            count: How many in all.

        Raises:
            NotInTimeError: When they have not in time.
        """
        await self._changes.until(
            lambda: len(self.got) >= count, lambda: f"{len(self.got)} of {count} messages had come"
        )


async def echo(message: Any, _context: MessageContext) -> str:
    """Answer with the message's own text, without waiting."""
    return str(message.text)
