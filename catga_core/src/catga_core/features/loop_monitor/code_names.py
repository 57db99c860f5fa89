"""`CodeNames`: which handler a thread is in."""

from __future__ import annotations

import inspect
import os
import sys
import time
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any


@dataclass(slots=True, eq=False)
class Stay:
    """One call of a handler that a thread was seen in.

    Args:
        handler: The handler's name; several where they share the code.
        line: The file and line where it was seen first, such as `orders.py:12`.
        frame: The call.
        first_seen: When it was seen first, on the monotonic clock.
        last_seen: When it was seen last.
        warned: Whether it was logged.
    """

    handler: str
    line: str
    frame: FrameType
    first_seen: float
    last_seen: float
    warned: bool = False

    @property
    def seconds(self) -> float:
        """How long it was seen for."""
        return self.last_seen - self.first_seen


class CodeNames:
    """Finds the handler that a blocked thread is in.

    Nothing but the stack of the thread tells that, once the loop itself cannot. It is looked at while the loop is blocked, for
    a line of log; nothing is decided by it.
    """

    def __init__(self) -> None:
        self._names: dict[CodeType, list[str]] = {}

    def add(self, target: Any, name: str) -> None:
        """Add a handler.

        Args:
            target: Its class or function.
            name: Its name.
        """
        functions = [target]
        if isinstance(target, type):
            own = [
                each for each in target.__mro__ if not each.__module__.startswith(("catga_core.", "builtins"))
            ]
            functions = [value for cls in own for value in vars(cls).values() if inspect.isfunction(value)]
        for each in functions:
            code = _code_of(each)
            if code is not None and name not in (names := self._names.setdefault(code, [])):
                names.append(name)

    def find(self, thread: int) -> Stay | None:
        """Return the innermost call of a handler that a thread is in, `None` where it is in none.

        Args:
            thread: The thread's identifier.
        """
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, for finding what a thread hangs in
        while frame is not None:
            names = self._names.get(frame.f_code)
            if names is not None:
                now = time.monotonic()
                file = os.path.basename(frame.f_code.co_filename)  # noqa: PTH119 - pathlib is not imported for it
                return Stay(" or ".join(names), f"{file}:{frame.f_lineno}", frame, now, now)
            frame = frame.f_back
        return None


def _code_of(function: Any) -> CodeType | None:
    try:
        plain = inspect.unwrap(function)
    except ValueError:
        # It wraps itself.
        plain = function
    code: CodeType | None = getattr(plain, "__code__", None)
    return code
