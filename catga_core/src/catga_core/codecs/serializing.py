"""The two formats, with the hooks for foreign types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.codecs.foreign import decode_foreign, encode_foreign

MSGPACK = "msgpack"
JSON = "json"
FORMATS = (MSGPACK, JSON)
NO_FORMAT = ""
"""Stands for values that are not encoded: only their declared types and constraints count."""


def encoder_of(format: str) -> Callable[[object], bytes]:
    """Return the encoding function of a format."""
    if format == JSON:
        return msgspec.json.Encoder(enc_hook=encode_foreign).encode
    return msgspec.msgpack.Encoder(enc_hook=encode_foreign).encode


def decoder_of(format: str, type_: Any) -> Callable[[bytes | memoryview], Any]:
    """Return the decoding function of a format for a type.

    Raises:
        Exception: What msgspec raises for a type that cannot be decoded.
    """
    if format == JSON:
        return msgspec.json.Decoder(type_, dec_hook=decode_foreign).decode
    return msgspec.msgpack.Decoder(type_, dec_hook=decode_foreign).decode
