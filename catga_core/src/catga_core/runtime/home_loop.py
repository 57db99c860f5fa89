"""`HomeLoop`: the event loop that a storage, a transport or a container belongs to while it runs."""

from __future__ import annotations

import asyncio

LOOP_IS_CLOSED = (
    "was started in an event loop that is closed now. Stop the container before its event loop ends, and start it in the "
    "event loop that uses it."
)
"""What is wrong with a storage, transport or container that nothing can work for any more."""


class HomeLoop:
    """Remembers the event loop of a start, so that use from another loop or thread is refused and does not hang.

    Futures, locks and sockets belong to the loop that they were created in. Used from another one they wait for a wake-up
    that never comes.

    Attributes:
        loop: The loop, `None` for none. Where a call would cost too much, compare it with the running one.
    """

    __slots__ = ("loop",)

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it was entered in a loop that is closed by now."""
        return self.loop is not None and self.loop.is_closed()

    @property
    def is_here(self) -> bool:
        """Whether the running loop may use it: it was entered in this loop, or in none."""
        return self.loop is None or self.loop is asyncio.get_running_loop()

    def enter(self) -> None:
        """Belong to the running loop from now on."""
        self.loop = asyncio.get_running_loop()

    def leave(self) -> None:
        """Belong to no loop."""
        self.loop = None

    def problem(self) -> str | None:
        """Return why the running loop may not use it, and how to fix that; `None` where it may, and outside of any loop."""
        loop = self.loop
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return None
        if loop is None or loop is running:
            return None
        if loop.is_closed():
            return LOOP_IS_CLOSED
        return (
            "runs in another event loop. Use it there, with asyncio.run_coroutine_threadsafe() from another thread, or give "
            "each event loop a container."
        )
