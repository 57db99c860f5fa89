"""One connection for everybody: what concurrent callers ask in one turn of the loop is sent together.

redis-py takes a connection for each command that is under way: 64 callers are 64 system calls. Here the callers of a turn are
one write and a few reads, and those that come while a batch is under way are the next batch.

There is one batch under way at a time. Two, over two connections, were measured with 64 callers: 4 to 15 % slower on one CPU, because
the server is what is busy then, and smaller batches cost both sides more system calls; with a CPU for each, not clearly faster either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from catga_core.runtime import cancel_and_wait
from catga_redis.engine.failures import LostError, NotSentError, UnconfirmedError
from catga_redis.engine.scripts import Script

_BATCH_BYTES = 1024 * 1024

# hiredis declares its argument as a tuple of one.
_pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)


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


class Confirmation:
    """What has to be asked after writes, on the same connection, before they are acknowledged.

    Args:
        disk: Whether the server's own disk must have them.
        replicas: How many replicas must have them.
        timeout: Seconds to wait.
    """

    __slots__ = ("_disk", "_replicas", "packed", "timeout")

    def __init__(self, *, disk: bool, replicas: int, timeout: float) -> None:
        self._disk = disk
        self._replicas = replicas
        self.timeout: float = timeout
        milliseconds = max(1, int(timeout * 1000))
        self.packed: bytes = _pack(
            ("WAITAOF", int(disk), replicas, milliseconds) if disk else ("WAIT", replicas, milliseconds)
        )

    def problem(self, answer: Any) -> UnconfirmedError | None:
        """Return what is missing, `None` for nothing."""
        if isinstance(answer, Exception):
            return UnconfirmedError(f"the server cannot tell who has it ({answer})")
        disk, replicas = answer if self._disk else (1, answer)
        if disk < int(self._disk):
            return UnconfirmedError(f"the server's disk has not got it within {self.timeout:g} s")
        if replicas < self._replicas:
            what = f"{replicas} of {self._replicas} replicas have it"
            return UnconfirmedError(f"only {what} after {self.timeout:g} s")
        return None


class _Call:
    """One command, and who waits for its answer."""

    __slots__ = ("future", "packed", "writes")

    def __init__(self, packed: bytes, future: asyncio.Future[Any], *, writes: bool) -> None:
        self.packed = packed
        self.future = future
        self.writes = writes


class Lane:
    """Sends commands of many callers over one connection.

    A caller that is cancelled, or whose command is refused, changes nothing for the others.

    Args:
        pool: Where the connection comes from.
        timeout: Seconds within which a batch has to be answered.
        connect_timeout: Seconds within which a connection has to be made.
        batch_size: How many commands are sent together at most.
        confirmation: What to ask after writes, `None` for nothing.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        timeout: float,
        connect_timeout: float,
        batch_size: int,
        confirmation: Confirmation | None,
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._batch_size = batch_size
        self._confirmation = confirmation
        self._waiting: deque[_Call] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._connection: Any = None
        self._stale = False
        self._worker: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """Take another connection for the next batch."""
        self._stale = True

    def open(self) -> None:
        """Begin to send."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop sending; what was not answered fails."""
        worker, self._worker = self._worker, None
        if worker is not None:
            # redis-py connects with asyncio.wait_for, which may swallow a cancellation on Python 3.11.
            await cancel_and_wait(worker, again_after=0.1)
        await self._drop()
        _fail(self._waiting, NotSentError("it is closed"))
        self._waiting.clear()
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
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._worker is None:
            future.set_exception(NotSentError("it is not started, or stopped"))
            return future
        self._waiting.append(_Call(_pack(parts), future, writes=writes))
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
            batch = self._next_batch()
            if not batch:
                continue
            try:
                await self._exchange(batch)
            except asyncio.CancelledError:
                _fail(batch, LostError("it was closed"))
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the next callers get another connection
                _fail(batch, LostError(f"{type(error).__name__}: {error}"))
                await self._drop()

    def _next_batch(self) -> list[_Call]:
        batch: list[_Call] = []
        size = 0
        waiting = self._waiting
        while waiting and len(batch) < self._batch_size and size < _BATCH_BYTES:
            call = waiting.popleft()
            # Cancelled before it was sent: it need not be done at all.
            if not call.future.done():
                batch.append(call)
                size += len(call.packed)
        return batch

    async def _exchange(self, batch: list[_Call]) -> None:
        if self._stale:
            self._stale = False
            await self._drop()
        connection = self._connection
        if connection is None or not connection.is_connected:
            try:
                async with asyncio.timeout(self._connect_timeout):
                    connection = self._connection = await self._pool.get_connection()
            except (RedisError, OSError, TimeoutError) as error:
                await self._drop()
                _fail(batch, NotSentError(_words(error)))
                return
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
            _fail(batch, error)
        except (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError) as error:
            await self._drop()
            _fail(batch, LostError(_words(error)))

    async def _confirmed(self, connection: Any, batch: list[_Call], confirmation: Confirmation) -> None:
        answers = [await _read(connection) for _ in batch]
        problem = confirmation.problem(await _read(connection))
        for call, answer in zip(batch, answers, strict=True):
            _settle(
                call, problem if problem and call.writes and not isinstance(answer, Exception) else answer
            )

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


async def _answer(connection: Any, batch: list[_Call]) -> None:
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


def _settle(call: _Call, answer: Any) -> None:
    future = call.future
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _fail(calls: Sequence[_Call] | deque[_Call], error: Exception) -> None:
    for call in calls:
        if not call.future.done():
            # One for each: a traceback grows where it is raised.
            call.future.set_exception(type(error)(*error.args))


def _words(error: BaseException) -> str:
    return str(error) or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)
