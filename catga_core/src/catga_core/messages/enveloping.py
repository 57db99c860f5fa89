"""What makes a message's envelope into bytes: one function for each type, with all that does not change worked out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from catga_core.errors import CatgaError
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.message_context import MessageContext
from catga_core.messages.types import MessageType
from catga_core.messages.wire_format import FAR, FORMAT, check_texts

Encode: TypeAlias = Callable[[Any, MessageContext, float | None], bytes]
"""Takes a message, its context and its deadline in seconds since the epoch."""


def encoder(
    described: MessageType,
    bodies: BodyCodec,
    encode: Callable[[Any], bytes],
    embed: Callable[[Any], Any] | None,
    unserializable: Callable[[object, Exception], CatgaError],
) -> Encode:
    """Return what encodes the messages of a type.

    The envelope is a tuple, whose bytes are those of `Envelope`: the struct would be made only to be written, and costs a
    sixth of all that this does (docs/benchmarks.md).

    Args:
        described: The messages' type.
        bodies: Tells whether a message would arrive as it is.
        encode: The format's own function.
        embed: Makes a body that is bytes in the envelope; `None` where the message lies in it as it is.
        unserializable: Gives the error for what cannot be encoded.

    Raises:
        CatgaError: `SERIALIZATION_FAILED`: no message of the type can be decoded.
    """
    name, version = described.name, described.version
    # What is not embedded is checked where it is made into bytes.
    good = bodies.check_of(described) if embed is None else bool

    def encode_message(message: Any, context: MessageContext, deadline: float | None) -> bytes:
        if embed is not None:
            body = embed(message)
        else:
            body = message
            try:
                fits = good(message)
            except RecursionError:
                fits = False
            if not fits:
                bodies.refuse(described, message)
        message_id = context.message_id
        correlation = context.correlation_id
        headers = context.headers
        if headers or message_id.__class__ is not str:
            check_texts(context)
        # Neither infinity nor "not a number" is a limit.
        limit = int(deadline * 1000) if deadline is not None and -FAR < deadline * 1000 < FAR else None
        try:
            return encode(
                (
                    FORMAT,
                    name,
                    version,
                    message_id,
                    "" if correlation == message_id else correlation,
                    context.causation_id,
                    limit,
                    context.traceparent,
                    context.tracestate,
                    dict(headers) if headers else None,
                    body,
                )
            )
        except Exception as error:
            raise unserializable(message, error) from error

    return encode_message
