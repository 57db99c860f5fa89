"""`CodeNames`: which handler a thread is in."""

from __future__ import annotations

import faulthandler
import inspect
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x([0-9a-f]+) ")
_CALL = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')


@dataclass(slots=True, eq=False)
class Stay:
    """How long a thread was seen in a handler.

    Args:
        handler: The handler's name; several where they share the code.
        line: The file and line where it was seen first, such as `orders.py:12`.
        first_seen: When it was seen first, on the monotonic clock.
        last_seen: When it was seen last.
        warned: Whether it was logged.
    """

    handler: str
    line: str
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
        # By file and function: a stack has no more.
        self._names: dict[tuple[str, str], list[tuple[range, list[str]]]] = {}

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
            if code is not None:
                self._add(code, name)

    def find(self, thread: int, now: float) -> Stay | None:
        """Return the innermost handler that a thread is in, `None` where it is in none.

        Args:
            thread: The thread's identifier.
            now: The time, on the monotonic clock.
        """
        for file, line, function in _stack_of(thread):
            for lines, names in self._names.get((file, function), ()):
                if line in lines:
                    place = f"{os.path.basename(file)}:{line}"  # noqa: PTH119 - pathlib is not imported for it
                    return Stay(" or ".join(names), place, now, now)
        return None

    def _add(self, code: CodeType, name: str) -> None:
        last = max((line for _, _, line in code.co_lines() if line is not None), default=code.co_firstlineno)
        lines = range(code.co_firstlineno, last + 1)
        known = self._names.setdefault((code.co_filename, code.co_name), [])
        names = next((names for there, names in known if there == lines), None)
        if names is None:
            known.append((lines, [name]))
        elif name not in names:
            names.append(name)


def _stack_of(thread: int) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and function of each call of a thread, the innermost first.

    Not by the frames of another thread: following them (`f_back`) while that thread runs has crashed the interpreter.
    """
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        text = file.read().decode(errors="replace")
    wanted = False
    for line in text.splitlines():
        if (head := _THREAD.match(line)) is not None:
            wanted = int(head[1], 16) == thread
        elif wanted and (call := _CALL.match(line)) is not None:
            yield call[1], int(call[2]), call[3]


def _code_of(function: Any) -> CodeType | None:
    try:
        plain = inspect.unwrap(function)
    except ValueError:
        # It wraps itself.
        plain = function
    code: CodeType | None = getattr(plain, "__code__", None)
    return code
