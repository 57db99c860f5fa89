"""Names, ids and trace headers from a peer: bounded, and without control characters, before anything shows them."""

from __future__ import annotations

import re
from typing import Protocol

from catga_core.errors import SerializationError

MAX_ID = 512
"""Characters of the longest message, correlation or causation id."""

MAX_NAME = 256
"""Characters of the longest name of a message."""

MAX_TRACE = 1024
"""Characters of the longest `traceparent` or `tracestate`."""

_SHOWN = 80
# Control characters, line and paragraph separators, and lone surrogates, which have no bytes.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def text_problem(text: str, most: int = MAX_ID) -> str | None:
    """Return why a text cannot be an id or a trace header, `None` where it can.

    Args:
        text: The text.
        most: Its greatest length.
    """
    if len(text) > most:
        return f"must have at most {most} characters; got {len(text)}. Shorten it."
    # The first test is a call in C, and the rule for most ids.
    if text.isprintable() or _CONTROL.search(text) is None:
        return None
    return f"must have no control characters and no lone surrogates; got {shown_text(text)}. Remove them."


class Identity(Protocol):
    """What an envelope and a context have in common."""

    @property
    def message_id(self) -> str:
        """As in `MessageContext`."""
        ...

    @property
    def correlation_id(self) -> str:
        """As in `MessageContext`."""
        ...

    @property
    def causation_id(self) -> str | None:
        """As in `MessageContext`."""
        ...

    @property
    def traceparent(self) -> str | None:
        """As in `MessageContext`."""
        ...

    @property
    def tracestate(self) -> str | None:
        """As in `MessageContext`."""
        ...


def check_identity(given: Identity) -> None:
    """Refuse the identity of a message that would break a log line, a header or a bound.

    Args:
        given: An envelope or a context.

    Raises:
        SerializationError: Naming the first id or header that is wrong.
    """
    message_id, correlation_id = given.message_id, given.correlation_id
    causation_id, traceparent, tracestate = given.causation_id, given.traceparent, given.tracestate
    if (
        causation_id is None
        and traceparent is None
        and tracestate is None
        and len(message_id) + len(correlation_id) <= MAX_ID
        and message_id.isprintable()
        and correlation_id.isprintable()
    ):
        return
    for name, text, most in (
        ("message_id", message_id, MAX_ID),
        ("correlation_id", correlation_id, MAX_ID),
        ("causation_id", causation_id, MAX_ID),
        ("traceparent", traceparent, MAX_TRACE),
        ("tracestate", tracestate, MAX_TRACE),
    ):
        problem = text_problem(text, most) if text else None
        if problem is not None:
            msg = f"{name} {problem}"
            raise SerializationError(msg)


def check_peer_name(name: str) -> None:
    """Refuse a message's name that no error may quote.

    Raises:
        SerializationError: It is too long or has control characters.
    """
    problem = text_problem(name, MAX_NAME)
    if problem is not None:
        msg = f"the message's name {problem}"
        raise SerializationError(msg)


def shown_text(text: str) -> str:
    """Return a peer's text, bounded and escaped, for a log line or an error."""
    return ascii(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!a}..."
