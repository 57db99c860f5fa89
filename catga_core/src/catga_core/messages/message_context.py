"""The record of one message's identity, which every port that carries messages is given."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

# Shared by all messages without headers, so it must not be written to.
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


# gc=False: it holds nothing that could refer back to it, and there is one for each message.
class MessageContext(msgspec.Struct, frozen=True, gc=False):
    """Who a message is and what it belongs to.

    Args:
        message_id: This message; the same on every try of the same message.
        correlation_id: The whole conversation; the id of the message that began it.
        causation_id: The message whose handler sent this one, `None` for the first.
        deadline: Seconds since the epoch after which the sender no longer waits, `None` for no limit.
        headers: What the sender added by `headers=`; they travel with this message and no further.
        traceparent: The W3C trace context that travels with the message.
        tracestate: The W3C trace state beside it.
    """

    message_id: str
    correlation_id: str
    causation_id: str | None = None
    deadline: float | None = None
    headers: Mapping[str, str] = NO_HEADERS
    traceparent: str | None = None
    tracestate: str | None = None
