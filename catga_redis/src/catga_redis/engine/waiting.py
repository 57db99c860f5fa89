"""The calls that wait for their turn on a lane. One timer ends the wait of all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from catga_redis.engine.failures import NotSentError

_BATCH_BYTES = 1024 * 1024
_ONE_ATTEMPT = 0.4  # seconds: longer than the pause between two attempts to connect


class Call:
    """One command, and the future of its answer."""

    __slots__ = ("due", "future", "packed", "writes")

    def __init__(self, packed: bytes, future: asyncio.Future[object], *, writes: bool, due: float) -> None:
        self.packed = packed
        self.future = future
        self.writes = writes
        self.due = due


class WaitingCalls:
    """A queue whose calls fail when they have waited too long for a server that answers nothing.

    While batches are answered, calls wait as long as it takes: many callers are no outage. In an outage that has lasted for
    longer than a call waits, further calls wait for about one attempt to connect, so that those which are made one after the
    other, as while a container stops, are not each told as late as the first.

    Args:
        patience: Seconds that a call waits at most without any answer to the calls before it.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._calls: deque[Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # When the last batch was answered, by the time of the event loop.
        self.answered_at: float = 0.0
        self._trouble: str | None = None
        # When the first attempt since the last answer failed.
        self._down_since: float = 0.0

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def trouble(self) -> str | None:
        """Why nothing is sent, `None` while there is a connection."""
        return self._trouble

    @trouble.setter
    def trouble(self, text: str | None) -> None:
        self._trouble = text
        if text is not None and self._down_since <= self.answered_at:
            self._down_since = asyncio.get_running_loop().time()

    def add(self, packed: bytes, future: asyncio.Future[object], *, writes: bool) -> None:
        """Queue a command.

        Args:
            packed: The command as it is sent.
            future: The future of its answer.
            writes: Whether it may write.
        """
        loop = future.get_loop()
        now = loop.time()
        due = now + self._patience
        if self._trouble is not None:
            due = min(due, max(now + _ONE_ATTEMPT, self._down_since + self._patience))
        self._calls.append(Call(packed, future, writes=writes, due=due))
        if self._timer is None:
            self._timer = loop.call_at(due, self._expire, loop)

    def take(self, most: int) -> list[Call]:
        """Return the next calls, without those whose callers were cancelled: they need not be sent at all.

        Args:
            most: How many calls at most.
        """
        batch: list[Call] = []
        size = 0
        calls = self._calls
        while calls and len(batch) < most and size < _BATCH_BYTES:
            call = calls.popleft()
            if not call.future.done():
                batch.append(call)
                size += len(call.packed)
        return batch

    def fail(self, error: Exception) -> None:
        """Fail every call that waits, and end the timer.

        Args:
            error: What they fail with.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        fail_calls(self._calls, error)
        self._calls.clear()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        patient_until = self.answered_at + self._patience
        calls = self._calls
        # In the order of their times, because none is due before one that came first.
        while calls and (calls[0].future.done() or (now >= calls[0].due and now >= patient_until)):
            fail_calls(
                [calls.popleft()], NotSentError(self.trouble or "the calls before it are not answered")
            )
        if calls:
            self._timer = loop.call_at(max(calls[0].due, patient_until), self._expire, loop)


def fail_calls(calls: Iterable[Call], error: Exception) -> None:
    """Fail calls whose callers still wait.

    Args:
        calls: The calls.
        error: What they fail with; each gets a separate copy, because a traceback grows where it is raised.
    """
    for call in calls:
        if not call.future.done():
            call.future.set_exception(type(error)(*error.args))
