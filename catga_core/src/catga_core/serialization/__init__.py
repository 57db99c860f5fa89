"""A message's bytes: the serializers and the wire envelope."""

from catga_core.serialization.envelope import FORMAT, Envelope, EnvelopeCodec
from catga_core.serialization.serializers import (
    MsgspecSerializer,
    json_serializer,
    msgpack_serializer,
    undecodable,
    unserializable,
)

__all__ = [
    "FORMAT",
    "Envelope",
    "EnvelopeCodec",
    "MsgspecSerializer",
    "json_serializer",
    "msgpack_serializer",
    "undecodable",
    "unserializable",
]
