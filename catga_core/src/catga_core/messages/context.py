"""One message's surroundings: its identity, where it came from, and until when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from catga_core.identifiers import new_id
from catga_core.messages.message_context import NO_HEADERS, MessageContext

# The message being handled in this task. Catga's own modules read it here; users call current_context().
active_context: ContextVar[MessageContext | None] = ContextVar("catga_message_context", default=None)


def begin_context(
    *,
    message_id: str | None = None,
    deadline: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> MessageContext:
    """Make the context of a message that is sent from here.

    Inside a handler it continues the handled message: same correlation and trace, caused by it, and a deadline
    no later than its own. Outside it begins a conversation of its own.

    Parameters:
        message_id: an id to keep, `None` for a new one.
        deadline: seconds since the epoch, `None` for the surrounding one.
        headers: the sender's own headers.
    """
    parent = active_context.get()
    identity = message_id or new_id()
    if parent is None:
        return MessageContext(identity, identity, None, deadline, headers or NO_HEADERS)
    limit = parent.deadline
    if limit is None or (deadline is not None and deadline < limit):
        limit = deadline
    return MessageContext(
        identity,
        parent.correlation_id,
        parent.message_id,
        limit,
        headers or NO_HEADERS,
        parent.traceparent,
        parent.tracestate,
    )


def begin_event_context(
    *, message_id: str | None = None, headers: Mapping[str, str] | None = None
) -> MessageContext:
    """Make the context of an event that is published from here.

    It continues the handled message as `begin_context` does, but without its deadline: a fact does not expire, and who
    reacts to it keeps nobody waiting.

    Parameters:
        message_id: an id to keep, `None` for a new one.
        headers: the publisher's own headers.
    """
    parent = active_context.get()
    identity = message_id or new_id()
    if parent is None:
        return MessageContext(identity, identity, None, None, headers or NO_HEADERS)
    return MessageContext(
        identity,
        parent.correlation_id,
        parent.message_id,
        None,
        headers or NO_HEADERS,
        parent.traceparent,
        parent.tracestate,
    )


def _current_context() -> MessageContext:
    """Return the context of the message that is being handled here.

    Raises:
        LookupError: outside of any message.
    """
    context = active_context.get()
    if context is None:
        msg = "current_context() was called where no message is being handled"
        raise LookupError(msg)
    return context


class ContextDemand:
    """Whether any code of this process can ask for the current context.

    Making and binding a context costs more than the rest of a bare dispatch, so a pipeline that nothing looks into
    leaves it out (docs/decisions/0002). Nobody can call `current_context` without first naming it, and naming it is
    what sets this flag.
    """

    __slots__ = ("_listeners", "wanted")

    def __init__(self) -> None:
        self.wanted: bool = False
        self._listeners: list[Callable[[], Callable[[], None] | None]] = []

    def listen(self, listener: Callable[[], Callable[[], None] | None]) -> None:
        """Have a pipeline's owner told when the context becomes wanted.

        Parameters:
            listener: gives what is to be called, or `None` when its owner is gone (a `weakref.WeakMethod`).
        """
        self._listeners = [known for known in self._listeners if known() is not None]
        self._listeners.append(listener)

    def want(self) -> None:
        """Note that the context may be asked for from now on."""
        if self.wanted:
            return
        self.wanted = True
        for listener in self._listeners:
            notify = listener()
            if notify is not None:
                notify()
        self._listeners.clear()


context_demand: ContextDemand = ContextDemand()

if TYPE_CHECKING:
    current_context = _current_context
else:

    def __getattr__(name: str) -> Any:
        if name == "current_context":
            context_demand.want()
            return _current_context
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
