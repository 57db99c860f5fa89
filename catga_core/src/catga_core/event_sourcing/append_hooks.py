"""What is done together with every append of an event store: where inline projections come in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeAlias

from catga_core.interfaces.event_log import AppendResult, StreamAppend

Append: TypeAlias = Callable[[Sequence[StreamAppend]], Awaitable[list[AppendResult]]]
"""Appends to the log."""

AroundAppend: TypeAlias = Callable[[Append, Sequence[StreamAppend]], Awaitable[list[AppendResult]]]
"""Calls the append it is given, with whatever has to be done in the same unit of work."""


class AppendHooks:
    """Lets one part of the application wrap the appends of its event store; no overhead where none does."""

    __catga_default__: ClassVar[bool] = True

    def __init__(self) -> None:
        self.around: AroundAppend | None = None
        """Called instead of the log's `append` with it and the appends; `None` for nothing around it."""
        self.heeded: bool = False
        """Whether an event store uses these hooks: an application's own may not."""
