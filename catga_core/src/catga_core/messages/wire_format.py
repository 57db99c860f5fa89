"""`Envelope`: what travels with a message, and in which order (docs/wire-format.md)."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.messages.message_context import NO_HEADERS, MessageContext

B = TypeVar("B")

FORMAT = 1
"""The envelope's own version; a receiver refuses any other."""

FAR = 1 << 53
"""Milliseconds; a deadline beyond it does not limit."""


class Envelope(msgspec.Struct, Generic[B], array_like=True, frozen=True, gc=False):
    """One message on the wire: an array, the body last so that what comes before it can be read without it.

    Args:
        format: The envelope's version, 1.
        name: The message's wire name.
        version: The message's version.
        message_id: As in `MessageContext`.
        correlation_id: As in `MessageContext`; empty where it is the message id.
        causation_id: As in `MessageContext`.
        deadline: Milliseconds since the epoch, `None` for no limit.
        traceparent: W3C trace context.
        tracestate: W3C trace state.
        headers: The sender's own headers, `None` for none.
        body: The message.
    """

    format: int
    name: str
    version: int
    message_id: str
    correlation_id: str
    causation_id: str | None
    deadline: int | None
    traceparent: str | None
    tracestate: str | None
    headers: dict[str, str] | None
    body: B

    def context(self) -> MessageContext:
        """Return the context the sender gave the message."""
        deadline = self.deadline
        if deadline is not None and abs(deadline) > FAR:
            # JSON has numbers that no float holds.
            deadline = FAR if deadline > 0 else -FAR
        return MessageContext(
            self.message_id,
            self.correlation_id or self.message_id,
            self.causation_id,
            None if deadline is None else deadline / 1000,
            self.headers or NO_HEADERS,
            self.traceparent,
            self.tracestate,
        )


def check_texts(context: MessageContext) -> None:
    """Refuse ids and headers that are no texts, which no receiver could read.

    Raises:
        CatgaError: `SERIALIZATION_FAILED`, naming the argument.
    """
    if not isinstance(context.message_id, str):
        raise _no_text("message_id", context.message_id)
    for key, value in context.headers.items():
        if not isinstance(key, str):
            raise _no_text("a name in headers", key)
        if not isinstance(value, str):
            raise _no_text(f"headers[{key!r}]", value)


def _no_text(what: str, value: object) -> CatgaError:
    text = f"{what} must be a str, not {type(value).__name__}: write it as a text"
    return SerializationError(text)
