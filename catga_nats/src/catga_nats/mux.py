"""Many requests over one inbox: a table of futures and one timer for all deadlines.

nats-py's own `request` spends a NUID, a token, a done-callback, a `wait_for` (with its timer, in Python 3.11) and two
subject checks on each request (docs/decisions: request multiplexer).
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections.abc import Callable, Mapping

from catga_core.errors import CatgaError, Outcome, RequestTimeoutError
from catga_nats.channels import Channels
from catga_nats.counters import Counters
from catga_nats.subscription import Subscription

Answer = bytes | tuple[bytes, Mapping[str, str]] | CatgaError
"""A payload, a payload with headers, or why there is none."""

_STREAM = b"s"  # begins the last word of a stream's address, where that of a request is a number
_TICKS = 64  # deadlines are kept to 1/64 s: a request ends up to so much after its deadline, never before it


class RequestMux:
    """Gives each request a place to be answered at, and hands each answer to the one who waits for it.

    Args:
        counters: Where to count.

    Attributes:
        channels: The open streams, whose frames arrive over the same inbox.
        opened: How many requests and streams were opened so far.
        refused: Returns why no answer can arrive, `None` while answers can.
    """

    __slots__ = (
        "_buckets",
        "_counters",
        "_due",
        "_inbox",
        "_pending",
        "_timer",
        "channels",
        "opened",
        "refused",
    )

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._pending: dict[bytes, tuple[asyncio.Future[Answer], set[bytes], bytes]] = {}
        self._buckets: dict[int, set[bytes]] = {}
        self._due: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self.channels: Channels = Channels()
        self.opened: int = 0
        self.refused: Callable[[], CatgaError] | None = None
        # 96 random bits: unique to this inbox, and not guessable.
        self._inbox = b"_INBOX.%b." % secrets.token_hex(12).encode()

    @property
    def pending(self) -> int:
        """How many requests wait for an answer."""
        return len(self._pending)

    @property
    def inbox(self) -> str:
        """The subject of all answers."""
        return self._inbox.decode() + "*"

    @property
    def subscription(self) -> Subscription:
        """What to listen on for answers."""
        return Subscription(self.inbox, "", self._on_answer)

    def open(self, subject: bytes, timeout: float) -> tuple[bytes, asyncio.Future[Answer]]:
        """Make a place for one answer; a caller that stops waiting before it is there calls `forget`.

        Args:
            subject: Where the request is sent.
            timeout: Seconds until the future ends with `TIMEOUT`.

        Returns:
            The subject to answer to, and the future of the answer.

        Raises:
            CatgaError: No answer can arrive.
        """
        if self.refused is not None:
            raise self.refused()
        loop = asyncio.get_running_loop()
        tick = int((loop.time() + timeout) * _TICKS) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._open_bucket(tick)
        self.opened = number = self.opened + 1
        reply = b"%b%x" % (self._inbox, number)
        future: asyncio.Future[Answer] = loop.create_future()
        self._pending[reply] = (future, bucket, subject)
        bucket.add(reply)
        return reply, future

    def address(self) -> bytes:
        """Return a new address for the frames of a stream.

        Raises:
            CatgaError: No frame can arrive.
        """
        if self.refused is not None:
            raise self.refused()
        self.opened += 1
        return b"%b%b%x" % (self._inbox, _STREAM, self.opened)

    def forget(self, reply: bytes) -> None:
        """Give up one request; its answer, should it come, is counted and dropped."""
        entry = self._pending.pop(reply, None)
        if entry is not None:
            entry[1].discard(reply)

    async def settle(self, timeout: float) -> None:
        """Wait for the answers that are still out, also of what is asked meanwhile.

        Args:
            timeout: Seconds.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while waiting := [future for future, _, _ in self._pending.values() if not future.done()]:
            left = until - loop.time()
            if left <= 0:
                return
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def fail_all(self, error: CatgaError) -> None:
        """End every request that waits with this error."""
        for reply in tuple(self._pending):
            self._interrupt(reply, error)

    def fail(self, subject: bytes, error: CatgaError, *, newest: bool = False) -> None:
        """End the requests to one subject with this error.

        Args:
            subject: Where they were sent.
            error: Why they fail.
            newest: Whether only the last one fails.
        """
        for reply in reversed(tuple(self._pending)):
            if self._pending[reply][2] == subject:
                self._interrupt(reply, error)
                if newest:
                    return

    def number(self, reply: bytes) -> int:
        """Return which request or stream a reply subject belongs to, counted from 1."""
        return int(reply[len(self._inbox) :].removeprefix(_STREAM), 16)

    def _interrupt(self, reply: bytes, error: CatgaError) -> None:
        future = self._pending[reply][0]
        self.forget(reply)
        if not future.done():
            self._counters.requests_interrupted += 1
            future.set_result(error)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_answer(
        self, subject: bytes, reply: bytes, data: bytes, headers: Mapping[str, str] | None
    ) -> None:
        entry = self._pending.pop(subject, None)
        if entry is None:
            if subject.startswith(_STREAM, len(self._inbox)):
                self.channels.deliver(subject, reply, data, headers)
            else:
                self._counters.replies_late += 1
            return
        future, bucket, _ = entry
        bucket.discard(subject)
        if not future.done():
            future.set_result(data if headers is None else (data, headers))

    def _open_bucket(self, tick: int) -> set[bytes]:
        bucket = self._buckets[tick] = set()
        heapq.heappush(self._due, tick)
        if self._due[0] == tick:
            self._arm(tick)
        return bucket

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(tick / _TICKS, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time() * _TICKS
        while self._due and self._due[0] <= now:
            for reply in self._buckets.pop(heapq.heappop(self._due)):
                future = self._pending.pop(reply)[0]
                if not future.done():
                    self._counters.requests_timed_out += 1
                    future.set_result(_silence())
        self._timer = None
        if self._due:
            self._arm(self._due[0])


def _silence() -> CatgaError:
    return RequestTimeoutError(
        "no answer arrived in time: the request may or may not have been handled",
        outcome=Outcome.UNKNOWN,
    )
