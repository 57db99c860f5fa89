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
    """Lets one part of the application wrap the appends of its event store; there is nothing in the way where none does."""

    __catga_default__: ClassVar[bool] = True

    def __init__(self) -> None:
        self.around: AroundAppend | None = None
        self.heeded: bool = False
        """Whether an event store asks here: one of an application's own may not."""

    async def append(self, append: Append, appends: Sequence[StreamAppend]) -> list[AppendResult]:
        """Append, wrapped where somebody wraps.

        Parameters:
            append: appends to the log.
            appends: what to append.
        """
        around = self.around
        return await (append(appends) if around is None else around(append, appends))
