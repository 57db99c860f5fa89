"""Waits for news of other processes: one connection for everybody who waits in this one.

News may be lost while a connection is. So nobody waits for it alone: each looks again after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self, cast

from redis.asyncio import Redis

from catga_redis.engine.ending import end

LOOK_AGAIN = 1.0
"""Seconds after which who waits looks for itself."""

_PAUSE = 0.5
_READ_FOR = 2.0


class News:
    """Wakes who waits for a topic.

    Parameters:
        connect: opens a client to listen with.
        channel: what the scripts publish to.
    """

    def __init__(self, connect: Callable[[], Awaitable[Redis]], channel: str) -> None:
        self._connect = connect
        self._channel = channel
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._closed = False
        self.listening: asyncio.Event = asyncio.Event()

    async def wait(self, topic: str, seconds: float) -> None:
        """Return when there is news, or after so many seconds at the latest.

        Parameters:
            topic: what to wait for.
            seconds: of real time.
        """
        with self.expecting(topic) as news:
            await news.within(seconds)

    def expecting(self, topic: str) -> Expectation:
        """Return a block in which no news of a topic is missed: look inside of it, then wait."""
        if self._listener is None and not self._closed:
            self._listener = asyncio.create_task(self._listen())
        return Expectation(self._waiting, topic)

    def tell(self, topic: str) -> None:
        """Wake who waits for a topic in this process."""
        for future in self._waiting.get(topic, ()):
            if not future.done():
                future.set_result(None)

    async def close(self) -> None:
        """Stop listening, and wake everybody."""
        self._closed = True
        listener, self._listener = self._listener, None
        await end(listener)
        for topic in list(self._waiting):
            self.tell(topic)

    async def _listen(self) -> None:
        while True:
            # Whatever goes wrong here, the next connection is tried: who waits looks for itself meanwhile.
            with suppress(Exception):
                await self._hear()
            self.listening.clear()
            await asyncio.sleep(_PAUSE)

    async def _hear(self) -> None:
        client = await self._connect()
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            while True:
                message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=_READ_FOR))
                if message is None:
                    # A connection that is dead without telling is noticed only by asking.
                    await pubsub.ping()
                elif message["type"] == "subscribe":
                    # What was told before now was told to nobody.
                    self.listening.set()
                    for topic in list(self._waiting):
                        self.tell(topic)
                elif message["type"] == "message":
                    self.tell(message["data"].decode())
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            await client.aclose(close_connection_pool=True)


class Expectation:
    """Somebody who waits for a topic, from before they look until they have news."""

    __slots__ = ("_future", "_topic", "_waiting")

    def __init__(self, waiting: dict[str, set[asyncio.Future[None]]], topic: str) -> None:
        self._waiting = waiting
        self._topic = topic
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> Self:
        self._waiting.setdefault(self._topic, set()).add(self._future)
        return self

    def __exit__(self, *_: object) -> None:
        waiting = self._waiting[self._topic]
        waiting.discard(self._future)
        if not waiting:
            del self._waiting[self._topic]

    async def within(self, seconds: float) -> None:
        """Return when there was news since the block began, or after so many seconds.

        Parameters:
            seconds: of real time; after `LOOK_AGAIN` of them it returns in any case.
        """
        if not self._future.done():
            await asyncio.wait((self._future,), timeout=max(0.0, min(seconds, LOOK_AGAIN)))
