"""The form in which a pipeline is called: counted where it may wait, and movable while callers hold it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias

from catga_core.messages.results import CatgaResult

Call: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Handles a message; gives a value or a result, and may raise."""

Chain: TypeAlias = Callable[[Any], Coroutine[Any, Any, CatgaResult[Any]]]
"""Handles a message; gives a result and raises nothing but cancellation."""


Fail: TypeAlias = Callable[[Exception, str], CatgaResult[Any]]
"""Makes what was raised, and the name of what raised it, into a failed result."""


class Way(NamedTuple):
    """One call and what can be done with it.

    Parameters:
        call: handles a message.
        lay: sends what comes in by `call` from now on another way.
        running: tells how many messages are under way here that may still wait.
    """

    call: Chain
    lay: Callable[[Chain], None]
    running: Callable[[], int]
