"""`LoopMonitor`: a thread that notices when the event loop does not answer, and in which handler it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from catga_core.features.loop_monitor.code_names import CodeNames, Stay
from catga_core.log import LOOP_BLOCKED, logger

_LONG_SECONDS = 5.0  # after which a block that lasts is logged: it may never end
_SUSPENDED_SECONDS = 2.0  # without a turn of the thread: the process was suspended
_HINT = "Await I/O instead, or run blocking code by asyncio.to_thread(...)."


class LoopMonitor:
    """A hosted service that watches the loop it is started in.

    A thread asks the loop at intervals to call back. While it does not, the thread looks which handler the loop is in: one that it
    stays in too long is logged. Handlers are not touched, so a message costs nothing more.

    Args:
        names: Finds the handler.
        warning_seconds: Seconds that a handler may block the loop without a warning.
        repeat_seconds: Seconds between two warnings for one handler.
    """

    def __init__(self, names: CodeNames, warning_seconds: float, repeat_seconds: float) -> None:
        self._names = names
        self._limit = warning_seconds
        # Seen twice within the limit, whenever it begins.
        self._interval = warning_seconds / 4
        self._repeat = repeat_seconds
        self._warned_at: dict[str, float] = {}
        self._watch: _Watch | None = None

    async def start(self) -> None:
        """Begin to watch the running loop."""
        self._watch = _Watch(asyncio.get_running_loop(), self._run)

    async def stop(self) -> None:
        """End the thread; a block that has just ended is still logged."""
        if self._watch is not None:
            await self._watch.end()

    # --- in the thread ---

    def _run(self, watch: _Watch) -> None:
        while not watch.stopping.wait(self._interval):
            watch.ask()
            self._look_until_answered(watch)

    def _look_until_answered(self, watch: _Watch) -> None:
        stay: Stay | None = None
        looked_at = time.monotonic()
        while not watch.answered.wait(self._interval):
            now, before = time.monotonic(), looked_at
            looked_at = now
            if stay is not None and now - before > self._interval + _SUSPENDED_SECONDS:
                # This thread did not run either.
                stay.first_seen += now - before
            found = self._names.find(watch.thread, now)
            # The loop was in one callback all the time, so that the same handler is the same call, or one of many in a row.
            if stay is None or found is None or found.handler != stay.handler:
                self._ended(stay)
                stay = found
                continue
            stay.last_seen = now
            if stay.seconds > _LONG_SECONDS and not stay.warned:
                self._warn(stay, ended=False)
        self._ended(stay)

    def _ended(self, stay: Stay | None) -> None:
        # One that was seen once may have been short.
        if stay is None or not stay.seconds or self._seconds(stay) < self._limit:
            return
        if stay.warned or stay.last_seen - self._warned_at.get(stay.handler, -self._repeat) >= self._repeat:
            self._warn(stay, ended=True)

    def _seconds(self, stay: Stay) -> float:
        # It came and went between two looks.
        return stay.seconds + self._interval

    def _warn(self, stay: Stay, *, ended: bool) -> None:
        stay.warned = True
        self._warned_at[stay.handler] = stay.last_seen
        logger().warning(
            LOOP_BLOCKED,
            handler=stay.handler,
            line=stay.line,
            seconds=round(self._seconds(stay), 2),
            ended=ended,
            hint=_HINT,
        )


class _Watch:
    """The thread of one run, and how it talks to the loop.

    Args:
        loop: The running loop.
        run: What the thread does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, run: Callable[[_Watch], None]) -> None:
        self.thread: int = threading.get_ident()
        self.stopping: threading.Event = threading.Event()
        self.answered: threading.Event = threading.Event()
        self._loop = loop
        self._ended = asyncio.Event()
        self._run = run
        threading.Thread(target=self._work, name="catga-loop-monitor", daemon=True).start()

    def ask(self) -> None:
        """Ask the loop to answer."""
        self.answered.clear()
        self._call(self.answered.set)

    async def end(self) -> None:
        """Wait until the thread has ended."""
        self.stopping.set()
        self.answered.set()
        if asyncio.get_running_loop() is self._loop:
            # Else its loop may be closed, and nothing would come.
            await self._ended.wait()

    def _work(self) -> None:
        try:
            self._run(self)
        finally:
            self._call(self._ended.set)

    def _call(self, function: Callable[[], None]) -> None:
        # A loop that was closed without a stop answers nothing any more.
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            self.stopping.set()
            self.answered.set()
