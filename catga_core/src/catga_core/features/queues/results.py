"""Encodes the results of enqueued commands that are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.messages import MessageType, Request
from catga_core.messages.exact import exact_encoder
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    version: int
    format: str
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class ResultCodecs:
    """Encodes and decodes results by the declared result types of their commands.

    Args:
        serializer: The container's serializer.
        registry: Finds the commands' classes.
    """

    def __init__(self, serializer: Serializer, registry: MessageRegistry) -> None:
        self._serializer = serializer
        self._registry = registry
        self._encoders: dict[MessageType, Callable[[Any], bytes]] = {}

    def encode(self, described: MessageType, value: object) -> bytes:
        """Encode a result.

        Raises:
            SerializationError: The result would not be read back as it is.
        """
        encode = self._encoders.get(described)
        if encode is None:
            encode = self._encoders[described] = exact_encoder(self._serializer, described.result)
        return _encode(_Kept(described.version, self._serializer.name, encode(value)))

    def decode(self, name: str, kept: bytes | None) -> CatgaResult[Any] | None:
        """Return a kept result; `None` where none was kept, a failure where it cannot be read."""
        if kept is None:
            return None
        try:
            record = _decode(kept)
            found = self._registry.find(name, record.version, Request)
            if found is None or record.format != self._serializer.name:
                text = f"The result of {name} v{record.version} was written as {record.format} and cannot be read here."
                return Failure(SerializationError(text))
            return Success(self._serializer.decoder(found.result)(record.value))
        except msgspec.MsgspecError as error:
            return Failure(SerializationError(f"The result of {name} is malformed: {type(error).__name__}"))
        except CatgaError as error:
            return Failure(error)
