"""`Intake`: handle incoming messages concurrently, up to a limit, and finish them before the end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, Generic, TypeVar

from catga_core.log import STOP_FAILED, logger
from catga_core.option_checks import check_count
from catga_core.runtime.cancellation import passes_through
from catga_core.runtime.deliveries import add_deliverer
from catga_core.runtime.tasks import STARTS_AT_ONCE, start_task

T = TypeVar("T")

_ENDED = object()
_CANCELLED_WITHIN = 1.0  # seconds that cancelled work has to end


class Intake(Generic[T]):
    """Bounded concurrency for one subscription of a transport.

    Each message has its own context variables. Messages that arrive in one turn of the event loop share a task until a
    handler waits: that handler keeps the task, and those after it get another one. A task for each message would cost as
    much as the rest of its delivery (decision 0039).

    Args:
        limit: How many messages may be handled at the same time.
        begin: Returns what handles a message, `None` where the message was answered or dropped instead.
        failed: Called in the message's task when `begin` or the handling has raised; not in its context, and neither is
            `begin`.
        overflowed: Called with the messages that have to wait because the limit is reached; removes those that may not.
    """

    __slots__ = (
        "__weakref__",
        "_arrived",
        "_begin",
        "_cancelled",
        "_coming",
        "_due",
        "_failed",
        "_latest",
        "_outside",
        "_overflowed",
        "_waited",
        "_waiting",
        "limit",
    )

    def __init__(
        self,
        limit: int,
        begin: Callable[[T], Coroutine[Any, Any, object] | None],
        failed: Callable[[T, BaseException], None],
        overflowed: Callable[[deque[T]], None],
    ) -> None:
        check_count("limit", limit)
        self.limit: int = limit
        self._begin = begin
        self._failed = failed
        self._overflowed = overflowed
        self._outside = Context()
        self._arrived: deque[T] = deque()
        self._waiting: set[asyncio.Task[None]] = set()  # each with a handler that waits
        self._latest: asyncio.Task[None] | None = (
            None  # has begun last, and neither ended nor is known to wait
        )
        self._coming = 0  # tasks that have not begun
        self._due = False  # whether `start` is scheduled
        self._waited = False  # whether a handler waited when this was last known
        self._cancelled = False  # whether `drain` has cancelled what was running
        add_deliverer(self)

    @property
    def running(self) -> int:
        """Number of messages that have arrived and are not finished."""
        return len(self._waiting) + len(self._arrived) + (self._latest is not None)

    @property
    def full(self) -> bool:
        """Whether one more message would exceed the limit."""
        return self.running >= self.limit

    def cancelled_from_within(self, task: asyncio.Task[Any], /) -> bool:
        """Return whether a task that was cancelled is one of these, and was not cancelled by `drain`.

        Args:
            task: The task.
        """
        return not self._cancelled and (task is self._latest or task in self._waiting)

    def put(self, message: T) -> None:
        """Handle one message concurrently with the others, from the next turn of the event loop.

        Args:
            message: Given to `begin`.
        """
        self._arrived.append(message)
        if not self._due:
            self._start_soon()
        elif self._waited and not STARTS_AT_ONCE:
            self._start_tasks(1)

    def start(self) -> None:
        """Handle what has arrived, each message up to where its handler waits; before Python 3.12, in the next turn."""
        self._due = False
        self._waited = self._latest is not None
        self._note_latest()
        while self._arrived and (room := self.limit - len(self._waiting)) > 0:
            if not STARTS_AT_ONCE:
                self._start_tasks(min(room, len(self._arrived)) - self._coming)
                self._look_soon()
                return
            self._start_tasks(1)
            self._note_latest()
        if self._arrived:
            self._overflowed(self._arrived)

    async def drain(self, timeout: float) -> list[T]:
        """Wait for the messages that have arrived, then cancel the rest.

        Returns one second after the timeout at the latest. Work that does not end when it is cancelled is left behind and
        logged.

        Args:
            timeout: Seconds to wait.

        Returns:
            The messages that were not started in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        # What has just arrived is started in the next turn.
        await asyncio.sleep(0)
        while self.running and (left := until - loop.time()) > 0:
            if self._waiting:
                await asyncio.wait(tuple(self._waiting), timeout=left)
            await asyncio.sleep(0)
        not_started = list(self._arrived)
        self._arrived.clear()
        tasks = tuple(self._waiting)
        self._cancelled = True
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=_CANCELLED_WITHIN)
            if stuck:
                reason = "Work in flight continues after its cancellation. Let CancelledError pass."
                logger().error(STOP_FAILED, reason=reason, left=len(stuck))
        return not_started

    def _start_soon(self) -> None:
        if not STARTS_AT_ONCE and len(self._waiting) < self.limit:
            self._start_tasks(1)
        self._look_soon()

    def _look_soon(self) -> None:
        # Every task that was started before this has begun then: one that has not ended waits.
        self._due = True
        asyncio.get_running_loop().call_soon(self.start)

    def _start_tasks(self, count: int) -> None:
        for _ in range(count):
            self._coming += 1
            # Kept by the loop until it begins, and by `_latest` or `_waiting` then.
            _ = start_task(self._handle_arrived(), context=Context())

    def _note_latest(self) -> None:
        if self._latest is not None:
            self._waiting.add(self._latest)
            self._latest = None

    async def _handle_arrived(self) -> None:
        self._coming -= 1
        self._note_latest()
        task: Any = asyncio.current_task()
        self._latest = task
        arrived, begin, outside = self._arrived, self._begin, self._outside.run
        waiting, limit = self._waiting, self.limit
        fresh = True
        try:
            while arrived and len(waiting) < limit:
                message = arrived.popleft()
                try:
                    work = outside(begin, message)
                    if work is None:
                        continue
                    if fresh:
                        fresh = False
                        await work
                    else:
                        context = Context()
                        try:
                            waits_for = context.run(work.send, None)
                        except StopIteration:
                            pass
                        else:
                            await _resumed(work, context, waits_for)
                except BaseException as error:  # noqa: BLE001  # messages are independent
                    self._fail(message, error)
                # The task of a handler that waited ends with it, and a cancellation is not meant for the next handler.
                if self._latest is not task or task.cancelling():
                    break
        finally:
            if self._latest is task:
                self._latest = None
            else:
                self._waiting.discard(task)
                if arrived and not self._due:
                    # In the next turn: handlers that are ready continue before one that arrived later is started.
                    self._start_soon()

    def _fail(self, message: T, error: BaseException) -> None:
        if isinstance(error, GeneratorExit):
            raise error
        self._outside.run(self._failed, message, error)
        if not isinstance(error, asyncio.CancelledError) and passes_through(error):
            raise error


def _step(step: Callable[[Any], object], value: object, context: Context) -> object:
    try:
        return context.run(step, value)
    except StopIteration:
        return _ENDED


@coroutine
def _resumed(
    work: Coroutine[Any, Any, object], context: Context, waits_for: object
) -> Generator[Any, Any, None]:
    """Run a coroutine that waits to its end, with its own context variables."""
    while waits_for is not _ENDED:
        try:
            value = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001  # it is the coroutine's to handle
            waits_for = _step(work.throw, error, context)
        else:
            waits_for = _step(work.send, value, context)
