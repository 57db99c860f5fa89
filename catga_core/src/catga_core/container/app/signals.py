"""SIGINT and SIGTERM for every container of a loop: the loop keeps one handler a signal, and several may listen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Generator

from catga_core.log import SIGNALS_IGNORED, logger

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_listening: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[Callable[[], None]]] = (
    weakref.WeakKeyDictionary()
)


@contextlib.contextmanager
def listening(on_signal: Callable[[], None]) -> Generator[None]:
    """Have a function called at each SIGINT and SIGTERM while the block lasts; never in a thread other than the main one.

    Args:
        on_signal: Called in the running loop, beside those of other containers.
    """
    if threading.current_thread() is not threading.main_thread():
        # Python gives signals to the main thread alone; the task that runs the container is cancelled to end it.
        logger().info(SIGNALS_IGNORED, thread=threading.current_thread().name)
        yield
        return
    loop = asyncio.get_running_loop()
    listeners = _listening.setdefault(loop, [])
    if not listeners:
        for each in _SIGNALS:
            # Windows has no such handlers; there KeyboardInterrupt ends the run.
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(each, _tell, listeners)
    listeners.append(on_signal)
    try:
        yield
    finally:
        listeners.remove(on_signal)
        if not listeners:
            for each in _SIGNALS:
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(each)


def _tell(listeners: list[Callable[[], None]]) -> None:
    for listener in tuple(listeners):
        listener()
