"""Many requests over one inbox: a table of futures and one timer for all deadlines.

nats-py's own `request` spends a NUID, a token, a done-callback, a `wait_for` (with its timer, in Python 3.11) and two
subject checks on each request. Leaving those out is worth a third of the client's time with one request in flight and
half of it with 64 (docs/decisions/0003-request-multiplexer.md).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import secrets
from collections.abc import Mapping

from catga_core.errors import CatgaError, ErrorCode
from catga_nats.connection import Message, NatsConnection, failed
from catga_nats.counters import Counters
from catga_nats.subscription import Subscription

_TICKS = 64  # deadlines are kept to 1/64 s; a request ends up to so much after its deadline, never before it


class RequestMux:
    """Sends requests and hands each answer to the one who waits for it.

    Parameters:
        connection: the connection to send on.
        counters: where to count.
    """

    __slots__ = (
        "_buckets",
        "_connection",
        "_count",
        "_counters",
        "_due",
        "_inbox",
        "_loop",
        "_pending",
        "_skip",
        "_stopped",
        "_timer",
    )

    def __init__(self, connection: NatsConnection, counters: Counters) -> None:
        self._connection = connection
        self._counters = counters
        self._pending: dict[str, asyncio.Future[Message | CatgaError]] = {}
        self._buckets: dict[int, set[str]] = {}
        self._due: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._count = itertools.count(1)
        # 96 random bits: nobody else's inbox, and nobody's guess.
        self._inbox = f"_INBOX.{secrets.token_hex(12)}."
        self._skip = len(self._inbox)
        self._loop = asyncio.get_running_loop()
        self._stopped: CatgaError | None = None

    @property
    def pending(self) -> int:
        """How many requests wait for an answer."""
        return len(self._pending)

    async def start(self) -> None:
        """Listen for answers."""
        # An answer is never dropped for lack of room: who asked has room for it.
        await self._connection.subscribe(Subscription(self._inbox + "*", "", self._on_reply, _ignore))

    async def request(
        self, subject: str, payload: bytes, timeout: float, headers: Mapping[str, str] | None = None
    ) -> Message:
        """Send a request and return its answer.

        Parameters:
            subject: where to.
            payload: what.
            timeout: seconds until the answer is given up.
            headers: NATS headers, `None` for none.

        Raises:
            CatgaError: `HANDLER_NOT_FOUND` when nobody listens there, `TIMEOUT`, or `TRANSPORT_FAILED`.
        """
        if self._stopped is not None:
            raise self._stopped
        connection = self._connection
        loop = self._loop
        until = loop.time() + timeout
        client = connection.client
        if client is None or not client.is_connected or client.pending_data_size > 2_097_152:
            client = await connection.ready(timeout)
        token = f"{next(self._count):x}"
        future: asyncio.Future[Message | CatgaError] = loop.create_future()
        self._pending[token] = future
        tick = int(until * _TICKS) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._open_bucket(tick)
        bucket.add(token)
        try:
            await client.publish(subject, payload, self._inbox + token, headers)  # type: ignore[arg-type]
            self._counters.requests_sent += 1
            answer = await future
        finally:
            del self._pending[token]
            bucket.discard(token)
        if isinstance(answer, CatgaError):
            raise answer
        # An empty payload with status 503 is the server's word that nobody listens.
        if not answer.data and answer.headers is not None and answer.headers.get("Status") == "503":
            self._counters.requests_unroutable += 1
            raise CatgaError(
                f"no process handles {subject}: start a service with a handler for it, or check subject_prefix",
                code=ErrorCode.HANDLER_NOT_FOUND,
            )
        return answer

    def fail_all(self, error: CatgaError) -> None:
        """End every request that waits with this error."""
        for future in self._pending.values():
            if not future.done():
                self._counters.requests_interrupted += 1
                future.set_result(error)

    def stop(self, error: CatgaError) -> None:
        """End every request that waits with this error, and all that come later."""
        self._stopped = error
        self.fail_all(error)
        if self._timer is not None:
            self._timer.cancel()

    async def _on_reply(self, message: Message) -> None:
        future = self._pending.get(message.subject[self._skip :])
        if future is not None and not future.done():
            future.set_result(message)
        else:
            self._counters.replies_late += 1

    def _open_bucket(self, tick: int) -> set[str]:
        bucket = self._buckets[tick] = set()
        heapq.heappush(self._due, tick)
        if self._due[0] == tick:
            self._arm(tick)
        return bucket

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(tick / _TICKS, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time() * _TICKS
        while self._due and self._due[0] <= now:
            for token in self._buckets.pop(heapq.heappop(self._due)):
                future = self._pending[token]
                if not future.done():
                    self._counters.requests_timed_out += 1
                    future.set_result(
                        CatgaError(
                            "no answer arrived in time: the request may or may not have been handled",
                            code=ErrorCode.TIMEOUT,
                            details={"outcome": "unknown"},
                        )
                    )
        self._timer = None
        if self._due:
            self._arm(self._due[0])


def _ignore(_: str) -> None: ...


def interrupted(shown: str) -> CatgaError:
    """Return the error of a request that was under way when the connection was lost."""
    return failed(
        f"the connection to NATS at {shown} was lost before the answer came: the request may or may not have been handled",
        outcome="unknown",
    )


__all__ = ["RequestMux", "interrupted"]
