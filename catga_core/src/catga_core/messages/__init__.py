"""Messages: their types, results, context, envelope and serializers."""

from catga_core.messages.types import (
    Command,
    Event,
    Message,
    MessageKind,
    MessageType,
    Query,
    Request,
    StreamQuery,
    check_wire_name,
    message,
    message_type,
    type_argument,
)

__all__ = [
    "Command",
    "Event",
    "Message",
    "MessageKind",
    "MessageType",
    "Query",
    "Request",
    "StreamQuery",
    "check_wire_name",
    "message",
    "message_type",
    "type_argument",
]
