"""Encodes the recorded results of idempotent commands."""

from __future__ import annotations

from typing import Any

import msgspec

from catga_core.errors import CatgaError, ConfigurationError, ConflictError, Outcome, SerializationError
from catga_core.messages import MessageType
from catga_core.messages.exact import exact_encoder
from catga_core.messages.fingerprints import fingerprint, same_content
from catga_core.messages.peer_texts import shown_text
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer
from catga_core.messages.serializers import reader_of

_FORMAT = 1


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    format: int
    serializer: str
    fingerprint: str
    value: bytes


class ResultCodec:
    """Encodes and decodes the results of one command.

    Args:
        described: The command's type.
        serializer: The container's serializer; it decodes by the command's declared result type.

    Raises:
        ConfigurationError: The declared result type cannot be decoded.
    """

    def __init__(self, described: MessageType, serializer: Serializer) -> None:
        self._name = described.cls.__name__
        self._described = described
        self._serializer = serializer
        self._encoder = msgspec.msgpack.Encoder()
        self._kept = msgspec.msgpack.Decoder(_Kept)
        try:
            serializer.decoder(described.result)
            self._encode = exact_encoder(serializer, described.result)
        except CatgaError as error:
            msg = (
                f"{self._name} is idempotent, but its result type cannot be decoded for a duplicate: {error.message} "
                "Declare a result type that can be serialized, or register a serializer that supports it."
            )
            raise ConfigurationError(msg) from error

    def fingerprint(self, message: object) -> str:
        """Return the fingerprint of a command."""
        return fingerprint(self._described, message, self._serializer.encode)

    def encode(self, value: object, fingerprint: str) -> bytes:
        """Encode a result.

        Args:
            value: The result.
            fingerprint: The command's fingerprint.

        Raises:
            SerializationError: The result cannot be encoded, or would not be read back as it is; the text names its type.
        """
        body = self._encode(value)
        return self._encoder.encode(_Kept(_FORMAT, self._serializer.name, fingerprint, body))

    def decode(self, data: bytes, fingerprint: str) -> CatgaResult[Any]:
        """Return the recorded result, or a failure where it is another command's or cannot be decoded.

        Args:
            data: The record.
            fingerprint: This command's fingerprint; empty if content is not compared.
        """
        try:
            kept: _Kept = self._kept.decode(data)
        except msgspec.MsgspecError as error:
            return Failure(self._unreadable(f"the record is malformed ({type(error).__name__})"))
        if not same_content(kept.fingerprint, fingerprint):
            return Failure(self._another())
        # The record outlives a change of the container's serializer.
        reader = reader_of(kept.serializer, self._serializer)
        if reader is None:
            text = (
                f"it was written as {shown_text(kept.serializer)}, which this process cannot read. Keep that serializer until "
                "its records have expired"
            )
            return Failure(self._unreadable(text))
        try:
            return Success(reader.decoder(self._described.result)(kept.value))
        except Exception as error:  # noqa: BLE001 - a serializer of the application's may raise anything
            return Failure(
                self._unreadable(error.message if isinstance(error, CatgaError) else type(error).__name__)
            )

    def _another(self) -> CatgaError:
        text = (
            f"{self._name} was not run: its idempotency key was used before with other content. "
            "Use a new key or message id for a new command, or @idempotent(compare=False)."
        )
        return ConflictError(
            text,
            retryable=False,
            outcome=Outcome.NOT_STARTED,
        )

    def _unreadable(self, why: str) -> CatgaError:
        text = f"{self._name} was run before, but its recorded result cannot be read: {why}"
        return SerializationError(text, outcome=Outcome.DONE_BEFORE)
