"""The built-in serializers: msgpack and JSON, both by msgspec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.errors import CatgaError, ErrorCode


class MsgspecSerializer:
    """Encodes and decodes by msgspec, strictly by type.

    Parameters:
        name: the name peers agree on.
        encode: msgspec's encoding function of the format.
        decoder: makes a decoding function of the format for a type.
    """

    __slots__ = ("_decoder", "_decoders", "_encode", "name")

    def __init__(
        self,
        name: str,
        encode: Callable[[object], bytes],
        decoder: Callable[[Any], Callable[[bytes | memoryview], Any]],
    ) -> None:
        self.name: str = name
        self._encode = encode
        self._decoder = decoder
        self._decoders: dict[Any, Callable[[bytes | memoryview], Any]] = {}

    def encode(self, value: object, /) -> bytes:
        """Return the bytes of a value.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, naming the value's type.
        """
        try:
            return self._encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as cause:
            raise unserializable(value, cause) from cause

    def decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        """Return a decoding function for a type; the same one each time.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` when no value of this type can be decoded.
        """
        known = self._decoders.get(type_)
        if known is None:
            try:
                known = self._decoder(type_)
            except TypeError as cause:
                msg = f"{shown_type(type_)} cannot be decoded: {cause}"
                raise CatgaError(msg, code=ErrorCode.SERIALIZATION_FAILED) from cause
            known = self._decoders[type_] = _guarded(known, type_)
        return known


def msgpack_serializer() -> MsgspecSerializer:
    """Return the default serializer: compact, binary, keeps bytes as bytes."""
    return MsgspecSerializer(
        "msgpack", msgspec.msgpack.Encoder().encode, lambda type_: msgspec.msgpack.Decoder(type_).decode
    )


def json_serializer() -> MsgspecSerializer:
    """Return the serializer for peers and people that read JSON."""
    return MsgspecSerializer(
        "json", msgspec.json.Encoder().encode, lambda type_: msgspec.json.Decoder(type_).decode
    )


def undecodable(type_: Any, cause: BaseException) -> CatgaError:
    """Return the error for bytes that are not a value of a type; it tells where, never what stood there."""
    text = "nested too deep" if isinstance(cause, RecursionError) else str(cause)
    return CatgaError(f"the bytes are no {shown_type(type_)}: {text}", code=ErrorCode.SERIALIZATION_FAILED)


def unserializable(value: object, cause: BaseException) -> CatgaError:
    """Return the error for a value that has no bytes; it names the type, never the value."""
    text = "nested too deep" if isinstance(cause, RecursionError) else str(cause)
    return CatgaError(
        f"a {type(value).__name__} cannot be serialized: {text}", code=ErrorCode.SERIALIZATION_FAILED
    )


def _guarded(decode: Callable[[Any], Any], type_: Any) -> Callable[[bytes | memoryview], Any]:
    def guarded(data: bytes | memoryview) -> Any:
        try:
            return decode(data)
        except (ValueError, RecursionError) as cause:
            raise undecodable(type_, cause) from cause

    return guarded


def shown_type(type_: Any) -> str:
    """Return a type's name as a person would write it."""
    return getattr(type_, "__name__", None) or str(type_)
