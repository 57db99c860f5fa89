"""`Recording`: what a task would send, kept instead of being sent."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from catga_core.errors import CatgaError
from catga_core.messages import Message
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.messages.scheduled import ScheduledId

_active: ContextVar[Recording | None] = ContextVar("catga_recording", default=None)


def current_recording() -> Recording | None:
    """Return where the running task's outgoing messages are recorded; `None` where they are sent."""
    recording = _active.get()
    return None if recording is None or recording.over else recording


class Outgoing(msgspec.Struct, frozen=True):
    """A message that was recorded instead of being sent.

    Args:
        message: The message.
        context: Its identity, correlation and headers.
        due_at: Of an enqueued command, when it is due, seconds since the Unix epoch; `None` for at once.
        key: Of an enqueued command, its key; `None` for none.
    """

    message: Message
    context: MessageContext
    due_at: float | None = None
    key: str | None = None


class Recording:
    """The outgoing messages of one task and of those that it starts.

    Attributes:
        published: Events.
        enqueued: Commands for later.
        sent: Commands to other processes.
        cancelled: Ids of enqueued commands.
        over: Whether it has ended: what a task sends that outlives it is sent.
    """

    __slots__ = ("cancelled", "enqueued", "over", "published", "sent")

    def __init__(self) -> None:
        self.published: list[Outgoing] = []
        self.enqueued: list[Outgoing] = []
        self.sent: list[Outgoing] = []
        self.cancelled: list[ScheduledId] = []
        self.over: bool = False

    def send(self, command: Any, context: MessageContext) -> CatgaResult[Any]:
        """Record a command to another process; return the failure that stands for its result."""
        self.sent.append(Outgoing(command, context))
        text = f"{type(command).__name__} was not sent: another process handles it, and this is a dry run."
        return Failure(CatgaError(text, code="DRY_RUN"))


class Recordings:
    """Counts the recordings of a container that are under way.

    While there is none, nothing on the way of a message asks for one.

    Args:
        changed: Called when the first one begins and when the last one has ended: ways out have to be found again.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    @contextmanager
    def record(self) -> Generator[Recording]:
        """Record what the running task sends while a block runs."""
        recording = Recording()
        token = _active.set(recording)
        self._count += 1
        if self._count == 1:
            self._changed()
        try:
            yield recording
        finally:
            _active.reset(token)
            recording.over = True
            self._count -= 1
            if self._count == 0:
                self._changed()
