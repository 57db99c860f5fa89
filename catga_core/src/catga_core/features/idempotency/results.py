"""The bytes in which a command's result is remembered."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from catga_core.errors import CatgaError, ConfigurationError, ConflictError, Outcome, SerializationError
from catga_core.messages import MessageType
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer

_FORMAT = 1
# Sets and dictionaries in one order, whichever process has made them.
_canonical = msgspec.msgpack.Encoder(order="deterministic")


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    format: int
    serializer: str
    digest: bytes
    value: bytes


class ResultCodec:
    """Makes one command's results into bytes and back.

    Parameters:
        described: the command.
        serializer: the container's; it encodes the value by the command's declared result type.

    Raises:
        ConfigurationError: when no value of that type can be decoded.
    """

    def __init__(self, described: MessageType, serializer: Serializer) -> None:
        self._name = described.cls.__name__
        self._serializer = serializer
        self._encoder = msgspec.msgpack.Encoder()
        self._kept = msgspec.msgpack.Decoder(_Kept)
        try:
            self._decode = serializer.decoder(described.result)
        except CatgaError as error:
            msg = (
                f"{self._name} is idempotent, and its result could not be given a second time: {error.message}; "
                "declare a result that can be serialized, or register a serializer that can"
            )
            raise ConfigurationError(msg) from error

    def digest(self, message: object) -> bytes:
        """Return what tells one content of the command from another, empty where it has no bytes."""
        try:
            data = _canonical.encode(message)
        except Exception:  # noqa: BLE001 - what msgspec cannot encode, the container's own serializer may
            try:
                data = self._serializer.encode(message)
            except CatgaError:
                return b""
        return blake2b(data, digest_size=16).digest()

    def encode(self, value: object, digest: bytes) -> bytes:
        """Return a result's bytes.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, naming the type.
        """
        body = self._serializer.encode(value)
        return self._encoder.encode(_Kept(_FORMAT, self._serializer.name, digest, body))

    def decode(self, key: str, data: bytes, digest: bytes) -> CatgaResult[Any]:
        """Return the recorded result, or a failure where it is not this command's or cannot be read.

        Parameters:
            key: the key, for errors.
            data: as recorded.
            digest: this command's; empty for one that is not compared.
        """
        try:
            kept: _Kept = self._kept.decode(data)
        except msgspec.MsgspecError as error:
            return Failure(self._unreadable(key, f"its bytes are no record: {type(error).__name__}"))
        if digest and kept.digest and digest != kept.digest:
            return Failure(self._another(key))
        if kept.serializer != self._serializer.name:
            text = f"it was written as {kept.serializer}, and this process reads {self._serializer.name}"
            return Failure(self._unreadable(key, text))
        try:
            return Success(self._decode(kept.value))
        except CatgaError as error:
            return Failure(self._unreadable(key, error.message))

    def _another(self, key: str) -> CatgaError:
        text = (
            f"{self._name} was not done: its key {key!r} was used before for one with another content; "
            "use a new key (or message id) for a new command, or @idempotent(compare=False)"
        )
        return ConflictError(
            text,
            retryable=False,
            outcome=Outcome.NOT_STARTED,
            details={"key": key},
        )

    def _unreadable(self, key: str, why: str) -> CatgaError:
        text = f"{self._name} was done before, and its recorded result cannot be read: {why}"
        return SerializationError(text, outcome=Outcome.DONE_BEFORE, details={"key": key})
