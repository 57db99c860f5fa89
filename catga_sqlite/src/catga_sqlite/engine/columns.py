"""How ids, headers and contexts are kept: as few bytes as they can be told from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from catga_core.messages.message_context import NO_HEADERS, MessageContext

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_headers: Final = msgspec.msgpack.Decoder(dict[str, str]).decode
_decode_context: Final = msgspec.msgpack.Decoder(
    tuple[str, str | None, float | None, dict[str, str], str | None, str | None]
).decode


def pack_id(text: str) -> str | bytes:
    """Return an id as it is kept: 16 bytes for 32 lower-case hexadecimal digits, as Catga's own are; else the text."""
    if len(text) == 32:
        try:
            packed = bytes.fromhex(text)
        except ValueError:
            return text
        # Upper case and spaces are read by fromhex as well, and would not come back.
        if packed.hex() == text:
            return packed
    return text


def unpack_id(kept: str | bytes) -> str:
    """Return an id as it was given."""
    return kept.hex() if isinstance(kept, bytes) else kept


def pack_headers(headers: Mapping[str, str]) -> bytes | None:
    """Return headers as they are kept, `None` for none."""
    return _encode(dict(headers)) if headers else None


def unpack_headers(kept: bytes | None) -> Mapping[str, str]:
    """Return headers as they were given."""
    return NO_HEADERS if kept is None else _decode_headers(kept)


def pack_context(context: MessageContext) -> bytes:
    """Return a message's context as it is kept; its own id has a column."""
    return _encode(
        (
            context.correlation_id,
            context.causation_id,
            context.deadline,
            dict(context.headers),
            context.traceparent,
            context.tracestate,
        )
    )


def unpack_context(message_id: str, kept: bytes) -> MessageContext:
    """Return a message's context as it was given.

    Parameters:
        message_id: its own id.
        kept: the rest.
    """
    correlation, causation, deadline, headers, traceparent, tracestate = _decode_context(kept)
    return MessageContext(
        message_id, correlation, causation, deadline, headers or NO_HEADERS, traceparent, tracestate
    )
