"""A message's bytes: the serializers and the wire envelope."""

from catga_core.messages.body_errors import misfit
from catga_core.messages.envelope import EnvelopeCodec
from catga_core.messages.enveloping import Encode
from catga_core.messages.refusals import last_resort, refusal_of
from catga_core.messages.serializers import (
    MsgspecSerializer,
    json_serializer,
    msgpack_serializer,
    undecodable,
    unserializable,
)
from catga_core.messages.wire_format import FORMAT, Envelope, check_texts

__all__ = [
    "FORMAT",
    "Encode",
    "Envelope",
    "EnvelopeCodec",
    "MsgspecSerializer",
    "check_texts",
    "json_serializer",
    "last_resort",
    "misfit",
    "msgpack_serializer",
    "refusal_of",
    "undecodable",
    "unserializable",
]
