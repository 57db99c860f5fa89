"""`EnvelopeCodec`: messages and results as bytes, and back (docs/wire-format.md)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from catga_core.errors import CatgaError, ErrorCode, SerializationError
from catga_core.messages import Message, MessageType
from catga_core.messages.bodies import BodyCodec, invalid
from catga_core.messages.body_errors import fault_in, misfit
from catga_core.messages.enveloping import Encode, encoder
from catga_core.messages.lenient import read_leniently
from catga_core.messages.message_context import MessageContext
from catga_core.messages.peer_texts import check_identity, check_peer_name
from catga_core.messages.refusals import Refusal, last_resort, refusal_of
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer
from catga_core.messages.serializers import (
    MsgspecSerializer,
    msgpack_serializer,
    shown_type,
    unserializable,
)
from catga_core.messages.wire_format import FORMAT, Envelope

B = TypeVar("B")

UNTYPED: Any = object()
"""Stands for a declared type that is not known."""


class _Answer(msgspec.Struct, Generic[B], array_like=True, frozen=True, gc=False):
    ok: bool
    value: B


# Parameterised at run time, which no type checker follows.
_ENVELOPE: Any = Envelope
_ANSWER: Any = _Answer
# Where the body and the value lie in the arrays, as msgspec's errors name it.
_BODY = f"$[{len(Envelope.__struct_fields__) - 1}]"
_VALUE = f"$[{len(_Answer.__struct_fields__) - 1}]"


class EnvelopeCodec:
    """Makes envelopes and results into bytes and back.

    With a built-in serializer the body lies inside the envelope's array and one pass over the bytes reads both. Any
    other serializer's body travels as a byte string inside a msgpack envelope.

    A message that would not arrive as it is is refused, and such a result becomes a failure.

    Args:
        serializer: The format of the bodies.
        registry: Knows the upcasters of messages that peers send in older versions; `None` for none.
    """

    __slots__ = (
        "_answers",
        "_any_answer",
        "_embedded",
        "_encoders",
        "_envelopes",
        "_outer",
        "_peek",
        "_refusal",
        "_serializer",
        "bodies",
    )

    def __init__(self, serializer: Serializer, registry: MessageRegistry | None = None) -> None:
        self.bodies: BodyCodec = BodyCodec(serializer, registry)
        self._embedded = isinstance(serializer, MsgspecSerializer)
        self._serializer = serializer
        self._outer = serializer if isinstance(serializer, MsgspecSerializer) else msgpack_serializer()
        self._encoders: dict[type[Message], Encode] = {}
        self._envelopes: dict[Any, Callable[[bytes | memoryview], Any]] = {}
        self._answers: dict[Any, Callable[[bytes | memoryview], Any]] = {}
        self._peek = self._outer.decoder(Envelope[msgspec.Raw])
        self._refusal = self._outer.decoder(Refusal)
        self._any_answer = self._outer.decoder(_ANSWER[msgspec.Raw])

    def encode(
        self, message_type: MessageType, message: object, context: MessageContext, deadline: float | None
    ) -> bytes:
        """Return a message's bytes, envelope and all.

        Args:
            message_type: The message's type.
            message: The message.
            context: Its identity.
            deadline: Seconds since the epoch; the transport's own limit where the context has none.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, naming the type, or the id or header that is not a str; `VALIDATION_FAILED` for
                a field of another type than declared.
        """
        encode = self._encoders.get(message_type.cls) or self.encoder(message_type)
        return encode(message, context, deadline)

    def encoder(self, message_type: MessageType) -> Encode:
        """Return what `encode` does for the messages of one type, for who sends many; the same function each time.

        Args:
            message_type: The messages' type.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`: no message of the type can be decoded.
        """
        known = self._encoders.get(message_type.cls)
        if known is None:
            embed = None if self._embedded else functools.partial(self.bodies.encode, message_type)
            known = self._encoders[message_type.cls] = encoder(
                message_type, self.bodies, self._outer.plain, embed, self._unserializable
            )
        return known

    def decode(
        self, message_type: MessageType, data: bytes | memoryview, *, lenient: bool = False
    ) -> Envelope[Any]:
        """Return the envelope with the message in it.

        Args:
            message_type: What is expected here.
            data: As received.
            lenient: Whether a message that only breaks constraints is returned, for an endpoint that validates.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`: not an envelope, of another format, with another message or version in
                it; `VALIDATION_FAILED`: with a body that breaks its types or constraints. The text never quotes the
                body.
        """
        cls = message_type.cls
        decode = self._envelopes.get(cls)
        if decode is None:
            if self._embedded:
                # A class that cannot be decoded is named itself, not the envelope around it.
                self._outer.decoder(cls)
            decode = self._envelopes[cls] = self._outer.plain_decoder(
                _ENVELOPE[cls if self._embedded else bytes]
            )
        try:
            envelope: Envelope[Any] = decode(data)
        except Exception as error:  # noqa: BLE001 - a class's own __post_init__ may raise anything
            # Read again without the body, to tell a wrong envelope or version from a wrong body.
            try:
                peeked: Envelope[Any] = self._peek(data)
            except CatgaError:
                raise self._foreign("bytes are not a message", error) from error
            if not _is(message_type, peeked):
                return self._upcast(message_type, peeked)
            body = bytes(peeked.body)
            if not self._embedded:
                body = msgspec.msgpack.decode(body, type=bytes)
            read = self.misread(message_type, body, error, _BODY, lenient=lenient)
            return msgspec.structs.replace(peeked, body=read)
        if (
            envelope.format != FORMAT
            or envelope.version != message_type.version
            or envelope.name != message_type.name
        ):
            return self._upcast(message_type, self._peek(data))
        check_identity(envelope)
        if self._embedded:
            return envelope
        return self._with_body(message_type, envelope, envelope.body, lenient=lenient)

    def peek(self, data: bytes) -> Envelope[bytes]:
        """Return the envelope of a message whose body need not be readable, with the bytes of the body.

        Args:
            data: What arrived.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`: it is no envelope of this format, or its name or ids are refused.
        """
        peeked: Envelope[Any] = self._peek(data)
        check_peer_name(peeked.name)
        check_identity(peeked)
        body = bytes(peeked.body)
        if not self._embedded:
            try:
                body = msgspec.msgpack.decode(body, type=bytes)
            except msgspec.MsgspecError as error:
                raise self._foreign("bytes are not a message", error) from error
        return msgspec.structs.replace(peeked, body=body)

    def misread(
        self, message_type: MessageType, data: bytes, error: Exception, place: str = "$", *, lenient: bool
    ) -> Any:
        """Return a message that breaks constraints only, where those are for its endpoint to tell.

        Args:
            message_type: What was expected.
            data: The body's bytes, which could not be decoded.
            error: What the serializer raised.
            place: Where in the bytes of the error the body lies.
            lenient: Whether the endpoint validates.

        Raises:
            CatgaError: As `misfit`, with every problem of the body's types.
        """
        refused = misfit(message_type, error, place)
        if refused.code != ErrorCode.VALIDATION_FAILED:
            raise refused from error
        try:
            message, problems = read_leniently(message_type.cls, self._serializer.decoder(Any)(data))
        except Exception:  # noqa: BLE001 - a serializer or a class of the application's may raise anything
            raise refused from error
        if problems:
            errors = [{"field": path.removeprefix("."), "message": rule} for path, rule in problems]
            raise invalid(message_type.cls.__name__, errors) from error
        if not lenient:
            raise refused from error
        return message

    def _upcast(self, message_type: MessageType, peeked: Envelope[Any]) -> Envelope[Any]:
        if peeked.format != FORMAT:
            text = f"envelope format {peeked.format} is not known here, only {FORMAT}: upgrade this process"
            raise SerializationError(text)
        check_peer_name(peeked.name)
        check_identity(peeked)
        data = bytes(peeked.body)
        if not self._embedded:
            data = msgspec.msgpack.decode(data, type=bytes)
        return self._with_body(message_type, peeked, data)

    def _with_body(
        self, message_type: MessageType, envelope: Envelope[Any], data: bytes, *, lenient: bool = False
    ) -> Envelope[Any]:
        decode = self.bodies.decoder(message_type, envelope.name, envelope.version)
        try:
            body = decode(data)
        except Exception as error:
            if not _is(message_type, envelope):
                raise misfit(message_type, error) from error
            body = self.misread(message_type, data, error, lenient=lenient)
        return msgspec.structs.replace(envelope, body=body)

    def encode_result(self, result: CatgaResult[Any], type_: Any = UNTYPED, *, subject: str = "") -> bytes:
        """Return a result's bytes; there always are some.

        A value that cannot be serialized, or would not arrive as it is, becomes a failure that says so; details that
        cannot be serialized are left out.

        Args:
            result: The result.
            type_: The declared type of a success's value; `UNTYPED` leaves it unchecked.
            subject: What the value is, for errors, such as `the result of GetTotal`.
        """
        if isinstance(result, Success):
            value = result.value
            try:
                if type_ is not UNTYPED:
                    self.bodies.check_value(type_, value, subject or f"a {shown_type(type_)}")
            except CatgaError as error:
                return self._encode_error(error)
            try:
                # The bytes of an `_Answer`.
                return self._outer.plain((True, value if self._embedded else self._serializer.encode(value)))
            except Exception as error:  # noqa: BLE001  # a serializer of the application's may raise anything
                return self._encode_error(self._unserializable(value, error))
        return self._encode_error(result.error if isinstance(result, Failure) else result)

    def _unserializable(self, value: object, error: Exception) -> CatgaError:
        # The array around the value is ours; a person looks for the value's own type.
        cause = error.__cause__ if isinstance(error, CatgaError) else error
        if cause is None:
            return error if isinstance(error, CatgaError) else unserializable(value, error)
        try:
            self._serializer.encode(value)
        except Exception:  # noqa: BLE001  # it is the value
            return unserializable(value, cause)
        text = f"what travels beside a {type(value).__name__} (an id or a header) cannot be serialized"
        return SerializationError(text)

    def _foreign(self, what: str, error: Exception) -> CatgaError:
        return SerializationError(
            f"the {what} in {self._outer.name}: {fault_in(error)}; do both sides use the same serializer?",
        )

    def _is_answer(self, data: bytes | memoryview) -> bool:
        try:
            self._any_answer(data)
        except CatgaError:
            return False
        return True

    def _encode_error(self, error: Any) -> bytes:
        try:
            return self._outer.encode(refusal_of(error, self._outer.encode))
        except CatgaError:
            return self._outer.encode(last_resort(error))

    def decode_result(self, type_: Any, data: bytes | memoryview) -> CatgaResult[Any]:
        """Return the result in an answer's bytes; what cannot be read is a failure that says so.

        Args:
            type_: The type of a success's value.
            data: As received.
        """
        try:
            decode = self._answers.get(type_)
            if decode is None:
                decode = self._outer.plain_decoder(_ANSWER[type_ if self._embedded else bytes])
                self._answers[type_] = decode
            answer = decode(data)
            if answer.ok:
                value = answer.value if self._embedded else self._serializer.decoder(type_)(answer.value)
                return Success(value)
            unreadable: CatgaError | None = None
        except Exception as error:  # noqa: BLE001  # a serializer of the application's may raise anything
            unreadable = SerializationError(
                f"the answer is not a valid {shown_type(type_)}: {fault_in(error, _VALUE)}",
            )
        # A refusal has a text where a success has its value, so it seldom fits the first decoder.
        try:
            refusal: Refusal = self._refusal(data)
        except CatgaError as error:
            if unreadable is None or not self._is_answer(data):
                return Failure(self._foreign("answer cannot be read", error))
            return Failure(unreadable)
        return Failure(
            CatgaError(
                refusal.message, code=refusal.code, retryable=refusal.retryable, details=refusal.details
            )
        )


def _is(expected: MessageType, envelope: Envelope[Any]) -> bool:
    return (
        envelope.format == FORMAT and envelope.name == expected.name and envelope.version == expected.version
    )
