"""One connection for everybody: what concurrent callers ask in one turn of the loop is sent together.

redis-py takes a connection for each command that is under way: 64 callers are 64 system calls. Here the callers of a turn are
one write and a few reads, and those that come while a batch is under way are the next batch.

There is one batch under way at a time. Two, over two connections, were measured with 64 callers: 4 to 15 % slower on one CPU, because
the server is what is busy then, and smaller batches cost both sides more system calls; with a CPU for each, not clearly faster either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from catga_core.runtime import RetryPolicy, background_task, cancel_and_wait
from catga_redis.engine.confirmation import Confirmation, pack
from catga_redis.engine.failures import LostError, NotSentError, other_loop
from catga_redis.engine.scripts import Script
from catga_redis.engine.waiting import Call, WaitingCalls, fail_calls

_RECONNECT = RetryPolicy(max_attempts=None, delay_seconds=0.02, max_delay_seconds=0.25)
_IDLE_SECONDS = 0.005  # after which the connection is looked at before something is sent
_MOST_BYTES = 500 * 1024 * 1024  # the server ends a connection that sends a string of 512 MB


class Pool(Protocol):
    """Where a lane's connection comes from: a pool of redis-py's, or a node of a cluster."""

    async def get_connection(self) -> Any:
        """Return a connection that is made."""
        ...

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        ...

    async def disconnect(self) -> None:
        """End every connection."""
        ...


class Lane:
    """Sends commands of many callers over one connection.

    A caller that is cancelled, or whose command is refused, changes nothing for the others. It belongs to the event loop in
    which it was opened.

    Args:
        pool: Where the connection comes from.
        shown: The server, without credentials.
        timeout: Seconds within which a batch has to be answered.
        patience: Seconds that a command waits for a connection before it fails as not sent.
        connect_timeout: Seconds within which a connection has to be made.
        batch_size: How many commands are sent together at most.
        confirmation: What to ask after writes, `None` for nothing.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        shown: str,
        timeout: float,
        patience: float,
        connect_timeout: float,
        batch_size: int,
        confirmation: Confirmation | None,
    ) -> None:
        self._pool = pool
        self._shown = shown
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._batch_size = batch_size
        self._confirmation = confirmation
        self._waiting = WaitingCalls(patience)
        self._idle: asyncio.Future[None] | None = None
        self._connection: Any = None
        self._failures = 0
        self._stale = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def confirms(self) -> bool:
        """Whether writes are confirmed by disks or replicas before they are acknowledged."""
        return self._confirmation is not None

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, `None` while there is one or none is needed."""
        return self._waiting.trouble

    def leave(self) -> None:
        """Take another connection for the next batch."""
        self._stale = True

    def open(self) -> None:
        """Begin to send."""
        self._loop = asyncio.get_running_loop()
        self._worker = background_task(self._work())

    async def close(self) -> None:
        """Stop sending; what was not answered fails."""
        worker, self._worker = self._worker, None
        if worker is not None:
            # redis-py connects with asyncio.wait_for, which may swallow a cancellation on Python 3.11.
            await cancel_and_wait(worker, again_after=0.1)
        await self._drop()
        self._waiting.fail(NotSentError("it is closed"))
        await self._pool.disconnect()

    async def command(self, *parts: Any) -> Any:
        """Send a command that reads, and return its answer."""
        return await self._submit(parts, writes=False)

    async def script(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script, and return its answer.

        Raises:
            NotSentError: There is no connection.
            LostError: The connection was lost, or the time was over, before the answer came.
            UnconfirmedError: It was done, and too few have told that they have it.
            ResponseError: The server's answer is an error.
        """
        answer = self._submit(("EVALSHA", script.sha, 1, key, *arguments), writes=script.writes)
        try:
            return await answer
        except ResponseError as error:
            if type(error).__name__ != "NoScriptError":
                raise
        # The server has been restarted: it did nothing, and knows the script from now on.
        return await self._submit(("EVAL", script.body, 1, key, *arguments), writes=script.writes)

    def _submit(self, parts: tuple[Any, ...], *, writes: bool) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if self._loop is not None and loop is not self._loop:
            raise other_loop(self._shown)
        future: asyncio.Future[Any] = loop.create_future()
        if self._worker is None:
            future.set_exception(NotSentError("it is not started, or stopped"))
            return future
        packed = pack(parts)
        if len(packed) > _MOST_BYTES:
            future.set_exception(
                NotSentError(f"a command of {len(packed)} bytes is more than the server takes")
            )
            return future
        self._waiting.add(packed, future, writes=writes)
        idle = self._idle
        if idle is not None and not idle.done():
            # The worker goes on after this turn of the loop, and so finds what the other callers of the turn ask as well.
            idle.set_result(None)
        return future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                self._idle = loop.create_future()
                await self._idle
                continue
            batch: list[Call] = []
            try:
                # Calls are taken when there is a connection; until then their time runs in the queue.
                if await self._connected(loop):
                    batch = self._waiting.take(self._batch_size)
                    if batch:
                        await self._exchange(batch, loop)
                    continue
            except asyncio.CancelledError:
                fail_calls(batch, LostError("it was closed"))
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the next callers get another connection
                self._waiting.trouble = f"{type(error).__name__}: {error}"
                fail_calls(batch, LostError(self._waiting.trouble))
                await self._drop()
            self._failures += 1
            await asyncio.sleep(_RECONNECT.delay(self._failures))

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether there is a connection, after one attempt to make it."""
        if self._stale:
            self._stale = False
            await self._drop()
        connection = self._connection
        if connection is not None and connection.is_connected:
            if loop.time() - self._waiting.answered_at < _IDLE_SECONDS or await _is_open(connection):
                return True
            await self._drop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                self._connection = await self._pool.get_connection()
        except (AuthenticationError, AuthorizationError) as error:
            # Waiting changes nothing about it.
            self._waiting.trouble = _words(error)
            await self._drop()
            self._waiting.fail(error)
            return False
        except (RedisError, OSError, TimeoutError) as error:
            self._waiting.trouble = _words(error)
            await self._drop()
            return False
        self._waiting.trouble = None
        self._failures = 0
        return True

    async def _exchange(self, batch: list[Call], loop: asyncio.AbstractEventLoop) -> None:
        connection = self._connection
        confirmation = self._confirmation
        if confirmation is not None and not any(call.writes for call in batch):
            confirmation = None
        packed = [call.packed for call in batch]
        limit = self._timeout
        if confirmation is not None:
            packed.append(confirmation.packed)
            limit += confirmation.timeout
        try:
            async with asyncio.timeout(limit):
                await connection.send_packed_command(packed, check_health=False)
                if confirmation is None:
                    await _answer(connection, batch)
                else:
                    await self._confirmed(connection, batch, confirmation)
        except BusyLoadingError as error:
            # An answer, though redis-py ends the connection at it: nothing of the batch was done.
            await self._drop()
            fail_calls(batch, error)
        except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError) as error:
            await self._drop()
            self._waiting.trouble = _words(error)
            fail_calls(batch, LostError(self._waiting.trouble))
        else:
            self._waiting.answered_at = loop.time()

    async def _confirmed(self, connection: Any, batch: list[Call], confirmation: Confirmation) -> None:
        answers = [await _read(connection) for _ in batch]
        problem = confirmation.problem(await _read(connection), await _read(connection))
        for call, answer in zip(batch, answers, strict=True):
            _settle(
                call, problem if problem and call.writes and not isinstance(answer, Exception) else answer
            )

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


async def _is_open(connection: Any) -> bool:
    """Return whether an idle connection is open, as far as this side knows."""
    # The loop learns of it in one turn, and tells the connection in the next.
    for _ in range(2):
        await asyncio.sleep(0)
    try:
        return not await connection.can_read()
    except (RedisError, OSError):
        return False


async def _answer(connection: Any, batch: list[Call]) -> None:
    read = connection.read_response
    for call in batch:
        try:
            answer = await read()
        except ResponseError as error:
            answer = error
        _settle(call, answer)


async def _read(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _settle(call: Call, answer: Any) -> None:
    future = call.future
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _words(error: BaseException) -> str:
    return str(error) or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)
