"""Wake-ups from other processes: one connection for every task of this process that waits.

A wake-up may be lost while the connection is. No task therefore relies on it alone: each looks again after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import Redis

from catga_core.clock import SystemClock
from catga_core.runtime import Expectation, RetryPolicy, Waiter, Worker
from catga_redis.engine.failures import describe, other_loop

LOOK_AGAIN_SECONDS = 1.0
"""Seconds after which a waiting task looks for itself."""

_RECONNECT = RetryPolicy(max_attempts=None, delay_seconds=0.5, max_delay_seconds=0.5)
_READ_SECONDS = 2.0


class News:
    """Wakes the tasks that wait for a topic.

    Args:
        connect: Opens a client to listen with.
        channel: The channel that the scripts publish to.
        loop: The event loop in which it is used, `None` before the start.
        shown: The server, without credentials.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Redis]],
        channel: str,
        *,
        loop: asyncio.AbstractEventLoop | None,
        shown: str,
    ) -> None:
        self._connect = connect
        self._loop = loop
        self._shown = shown
        self._channel = channel
        self._waiter = Waiter()
        self._listener = Worker(
            "redis news",
            self._listen,
            every=_RECONNECT.max_delay_seconds,
            clock=SystemClock(),
            retry=_RECONNECT,
            on_error=self._note,
        )
        self._started = False
        # Why wake-ups do not come, `None` while they do or without waiters.
        self.trouble: str | None = None

    def expect(self, topic: str) -> Expectation:
        """Open an expectation: no wake-up for a topic is missed from here on. Look next, then wait.

        Args:
            topic: The topic to wait for.

        Raises:
            PersistenceError: In another event loop than that of the storage.
        """
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise other_loop(self._shown)
        if self._loop is not None and not self._started and not self._waiter.closed:
            self._started = True
            self._listener.start()
        return self._waiter.expect(topic)

    def wake(self, topic: str) -> None:
        """Wake the tasks of this process that wait for a topic.

        Args:
            topic: The topic.
        """
        self._waiter.wake(topic)

    async def close(self) -> None:
        """Stop listening, and wake every task."""
        self._waiter.close()
        await self._listener.stop(cancel=True)

    async def _listen(self) -> None:
        client = await self._connect()
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            # On Python 3.11 a cancellation may be swallowed while the connection is made.
            while not self._waiter.closed:
                message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=_READ_SECONDS))
                if message is None:
                    # A dead connection that does not say so is noticed only by a request.
                    await pubsub.ping()
                elif message["type"] == "subscribe":
                    # Wake-ups before now were lost.
                    self.trouble = None
                    self._waiter.wake_all()
                elif message["type"] == "message":
                    self._waiter.wake(message["data"].decode())
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            await client.aclose(close_connection_pool=True)

    def _note(self, error: Exception, _delay: float) -> None:
        # The next connection is tried; the waiting tasks look for themselves meanwhile, and the storage logs outages.
        self.trouble = describe(error)


def look_again_within(seconds: float) -> float:
    """Return how long to wait for a wake-up before looking again.

    Args:
        seconds: Real seconds until something else is due.
    """
    return max(0.0, min(seconds, LOOK_AGAIN_SECONDS))
