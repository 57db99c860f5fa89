"""A busy loop lets the threads of the storage have the interpreter, where they cannot get it by themselves.

`sqlite3` gives the interpreter up at every step of a statement, and has to get it back. From a loop that computes and looks
at its sockets in turn it may not for long: each look gives the interpreter up for a moment that is too short to wake
another thread in, and its wait starts over. Beside slices of 100 us reading 100 events took up to a second that way, on an
idle machine it is 0.2 ms. A tenth of a millisecond in which the loop does nothing is enough for most of what is asked.
"""

from __future__ import annotations

import asyncio
import select
import sys
import time
from typing import Any, Final

# Seconds that something is waited for until the loop gives way for the first time. A look wakes a loop that waits, and so
# disturbs the thread: looking every millisecond made reading 100 events a tenth slower, and every four milliseconds an
# append 2 %.
_PATIENCE: Final = 0.01
# Seconds until it gives way again.
_AGAIN: Final = 0.001
# Seconds it gives way: to wake a thread and let it do some dozens of rows.
_PAUSE: Final = 0.0001
# The part of its time that a loop computes when it is busy. One that computes less waits for its sockets, and whoever
# waits for the interpreter has it then. Low, for other processes may take most of the machine.
_BUSY: Final = 0.25


def give_way() -> None:
    """Let other threads run; the loop stands still meanwhile."""
    if sys.platform == "win32":
        time.sleep(_PAUSE)
    else:
        # As time.sleep, which tools that look for blocking calls would take for a mistake.
        select.select((), (), (), _PAUSE)


class Handover:
    """Watches what is asked of threads, and gives way to them when it takes long and the loop is busy.

    It costs a busy loop at most a tenth of its time, and an idle one nothing. Used in the loop only.

    Args:
        loop: The one that may be busy.
    """

    __slots__ = ("_began", "_computed", "_last", "_looking", "_loop", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._looking = False
        self._watched: asyncio.Future[Any] | None = None
        self._last: asyncio.Future[Any] | None = None
        self._began = 0.0
        self._computed = 0.0

    def watch(self, future: asyncio.Future[Any]) -> None:
        """Watch until something is done; what is watched is expected to be done in the order of these calls."""
        self._last = future
        if not self._looking:
            self._looking = True
            self._wait_for(future, _PATIENCE)

    def _wait_for(self, future: asyncio.Future[Any], seconds: float) -> None:
        self._watched = future
        self._began = self._loop.time()
        self._computed = time.thread_time()
        self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        watched, last = self._watched, self._last
        if watched is not None and not watched.done():
            if time.thread_time() - self._computed >= _BUSY * (self._loop.time() - self._began):
                give_way()
                self._wait_for(watched, _AGAIN)
            else:
                self._wait_for(watched, _PATIENCE)
        elif last is not None and not last.done():
            self._wait_for(last, _PATIENCE)
        else:
            self._looking = False
            # What was read is not kept alive.
            self._watched = self._last = None
