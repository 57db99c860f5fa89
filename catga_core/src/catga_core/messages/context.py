"""The ambient context of the message that a task handles: bound by the pipeline, read by handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token

import msgspec

from catga_core.identifiers import new_id
from catga_core.messages.message_context import NO_HEADERS, MessageContext


class Unread(msgspec.Struct, gc=False):
    """The context of a message that begins a conversation, created when it is first read.

    Most handlers never read it, and an id and a context cost half of what a bare `send` costs besides them
    (docs/benchmarks.md).
    """

    context: MessageContext | None = None


class ActiveContext:
    """The context of the message that the running task handles; users call `current_context()`.

    It is used as a `ContextVar` is. `peek` returns what is bound without creating a context that was not read yet.
    """

    __slots__ = ("peek", "reset", "set")

    def __init__(self) -> None:
        bound: ContextVar[MessageContext | Unread | None] = ContextVar("catga_message_context", default=None)
        self.peek: Callable[[], MessageContext | Unread | None] = bound.get
        self.set: Callable[[MessageContext | Unread | None], Token[MessageContext | Unread | None]] = (
            bound.set
        )
        self.reset: Callable[[Token[MessageContext | Unread | None]], None] = bound.reset

    def get(self) -> MessageContext | None:
        """Return the bound context, `None` outside of any message."""
        found = self.peek()
        if not isinstance(found, Unread):
            return found
        if found.context is None:
            identity = new_id()
            found.context = MessageContext(identity, identity)
        return found.context


active_context: ActiveContext = ActiveContext()


def begin_context(
    *,
    message_id: str | None = None,
    deadline: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> MessageContext:
    """Create the context of a request that is sent from here.

    Inside a handler it continues the handled message: same correlation and trace, caused by it, and a deadline
    no later than its own. Elsewhere it begins a conversation.

    Args:
        message_id: The id to keep, `None` for a new one.
        deadline: Seconds since the Unix epoch, `None` for the surrounding deadline.
        headers: The sender's headers.
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
    """Create the context of an event that is published from here.

    It continues the handled message as `begin_context` does, but without its deadline: an event does not expire, and
    its handlers keep no caller waiting.

    Args:
        message_id: The id to keep, `None` for a new one.
        headers: The publisher's headers.
    """
    identity = message_id or new_id()
    # Most events are published outside of a handler, one after the other: `get` would be one call more.
    if active_context.peek() is None or (parent := active_context.get()) is None:
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


def current_context() -> MessageContext:
    """Return the context of the message that is being handled here.

    Raises:
        LookupError: Outside of a handler, and in the handler of a type declared with `@message(context=False)`.
    """
    context = active_context.get()
    if context is None:
        msg = (
            "no message context is bound: current_context() was called outside of a message handler, or in the handler "
            "of a message type declared with @message(context=False). Call it in a handler, and remove context=False there"
        )
        raise LookupError(msg)
    return context
