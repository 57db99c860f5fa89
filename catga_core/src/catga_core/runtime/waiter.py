"""`Waiter`: wait for work, a wake-up or a timeout, whichever comes first; `poll_until` looks again after each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Self, cast

from catga_core.runtime.cancellation import cancel_and_wait


class Waiter:
    """Wakes the tasks that wait for a key.

    A wake-up reaches every wait that has begun. A task that checks something before it waits opens an `Expectation` first;
    it then misses no wake-up between the check and the wait. Nothing is kept for keys that no task waits for. Not
    thread-safe: use it on one event loop.
    """

    __slots__ = ("_closed", "_expected")

    def __init__(self) -> None:
        self._expected: dict[Hashable, set[Expectation]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called: every wait returns at once."""
        return self._closed

    @property
    def waiting(self) -> int:
        """Number of open expectations."""
        return sum(map(len, self._expected.values()))

    def wake(self, key: Hashable = None) -> None:
        """Wake every task that waits for a key.

        Args:
            key: The key; the default key where a waiter has only one.
        """
        for each in tuple(self._expected.get(key, ())):
            each.wake()

    def wake_all(self) -> None:
        """Wake every task, whatever key it waits for."""
        for key in tuple(self._expected):
            self.wake(key)

    def close(self) -> None:
        """Wake every task; every later wait returns at once."""
        self._closed = True
        self.wake_all()

    def expect(self, key: Hashable = None) -> Expectation:
        """Open an expectation: wake-ups count from now on.

        Args:
            key: The key to wait for.

        Returns:
            A context manager that closes the expectation when it is left.
        """
        expectation = Expectation(self, key)
        self._expected.setdefault(key, set()).add(expectation)
        return expectation

    async def wait(
        self, key: Hashable = None, *, work: Awaitable[object] | None = None, timeout: float | None = None
    ) -> bool:
        """Wait for a wake-up, for work to end, or for a timeout; wake-ups before the call do not count.

        Args:
            key: The key to wait for.
            work: As in `Expectation.wait`.
            timeout: As in `Expectation.wait`.

        Returns:
            Whether the task was woken.
        """
        with self.expect(key) as expectation:
            return await expectation.wait(work, timeout=timeout)

    def forget(self, expectation: Expectation) -> None:
        """Close an expectation; `Expectation.close` calls this."""
        expected = self._expected.get(expectation.key)
        if expected is not None:
            expected.discard(expectation)
            if not expected:
                del self._expected[expectation.key]


class Expectation:
    """One task's wait for a key: remembers a wake-up until the next wait. `Waiter.expect` opens it.

    Args:
        waiter: The waiter that wakes it.
        key: The key to wait for.
    """

    __slots__ = ("_future", "_waiter", "_woken", "key")

    def __init__(self, waiter: Waiter, key: Hashable) -> None:
        self.key: Hashable = key
        self._waiter = waiter
        self._woken = False
        self._future: asyncio.Future[bool] | None = None

    def __enter__(self) -> Self:
        """Return the expectation."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the expectation."""
        self.close()

    def close(self) -> None:
        """Expect no more wake-ups."""
        self._waiter.forget(self)

    def wake(self) -> None:
        """End the wait, or the next one where none is under way."""
        future = self._future
        if future is None:
            self._woken = True
        # A loop that was closed around a task that waits wakes nothing any more.
        elif not future.done() and not future.get_loop().is_closed():
            future.set_result(True)

    async def wait(self, work: Awaitable[object] | None = None, *, timeout: float | None = None) -> bool:
        """Wait for a wake-up, for work to end, or for a timeout, whichever comes first.

        Other tasks get a turn in any case. One task waits at a time.

        Args:
            work: A coroutine, task or future that ends the wait; a sleep of the container's clock, for example. It is
                cancelled, and its end awaited, if something else ends the wait. A coroutine is not started after a wake-up.
            timeout: Real seconds to wait; `None` for no limit.

        Returns:
            Whether the task was woken, at once if it was woken since the last wait or the waiter is closed.

        Raises:
            Exception: The error of the work.
        """
        if self._woken or self._waiter.closed:
            self._woken = False
            # First, so that a cancellation leaves no coroutine unawaited.
            await _drop(work)
            await asyncio.sleep(0)
            return True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._future = future
        timer = None if timeout is None else loop.call_later(timeout, _end, future)
        running = None if work is None else asyncio.ensure_future(work)
        if running is not None:
            running.add_done_callback(lambda _: _end(future))
        try:
            woken = await future
        except GeneratorExit:
            # Thrown away with its loop: nothing can be awaited any more.
            running = timer = None
            raise
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()
            if running is not None and not running.done():
                await cancel_and_wait(running)
            elif running is not None and not running.cancelled():
                running.exception()  # marked as retrieved, in case this task is cancelled
        if running is not None and not running.cancelled():
            running.result()
        return woken


async def poll_until(
    look: Callable[[], Awaitable[bool]],
    *,
    wait: Callable[[float], Awaitable[object]],
    every: float,
    timeout: float | None,
) -> bool:
    """Look again and again at what another process may change, until it is there or the time is over.

    Args:
        look: Returns whether it is there; called at least once.
        wait: Waits for a change in this process, at the latest for the seconds that it is given.
        every: Real seconds between two looks where this process changes nothing.
        timeout: Real seconds to wait; `None` for no limit.

    Returns:
        Whether it is there.

    Raises:
        Exception: The error of `look` or `wait`.
    """
    loop = asyncio.get_running_loop()
    ends_at = math.inf if timeout is None else loop.time() + timeout
    while not await look():
        left = ends_at - loop.time()
        if left <= 0:
            return False
        await wait(min(left, every))
    return True


async def _drop(work: Awaitable[object] | None) -> None:
    if isinstance(work, Coroutine):
        cast("Coroutine[Any, Any, object]", work).close()
    elif isinstance(work, asyncio.Future):
        await cancel_and_wait(work)
        if not work.cancelled():
            work.result()


def _end(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
