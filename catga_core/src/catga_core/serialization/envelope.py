"""The wire format: what travels before a message's body, and what comes back (docs/wire-format.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.context import NO_HEADERS, MessageContext
from catga_core.interfaces.serializer import Serializer
from catga_core.messages import MessageType
from catga_core.results import CatgaResult, Failure, Success
from catga_core.serialization.serializers import MsgspecSerializer, msgpack_serializer, shown_type

B = TypeVar("B")

FORMAT = 1
"""The envelope's own version; a receiver refuses any other."""


class Envelope(msgspec.Struct, Generic[B], array_like=True, frozen=True, gc=False):
    """One message on the wire: an array, the body last so that what comes before it can be read without it.

    Parameters:
        format: the envelope's version, 1.
        name: the message's wire name.
        version: the message's version.
        message_id: as in `MessageContext`.
        correlation_id: as in `MessageContext`; empty where it is the message id.
        causation_id: as in `MessageContext`.
        deadline: milliseconds since the epoch, `None` for no limit.
        traceparent: W3C trace context.
        tracestate: W3C trace state.
        headers: the sender's own headers, `None` for none.
        body: the message.
    """

    format: int
    name: str
    version: int
    message_id: str
    correlation_id: str
    causation_id: str | None
    deadline: int | None
    traceparent: str | None
    tracestate: str | None
    headers: dict[str, str] | None
    body: B

    def context(self) -> MessageContext:
        """Return the context the sender gave the message."""
        deadline = self.deadline
        return MessageContext(
            self.message_id,
            self.correlation_id or self.message_id,
            self.causation_id,
            None if deadline is None else deadline / 1000,
            self.headers or NO_HEADERS,
            self.traceparent,
            self.tracestate,
        )


class _Answer(msgspec.Struct, Generic[B], array_like=True, frozen=True, gc=False):
    ok: bool
    value: B


class _Refusal(msgspec.Struct, array_like=True, frozen=True):
    ok: bool
    code: str
    message: str
    retryable: bool
    details: dict[str, Any]


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

    Parameters:
        serializer: the format of the bodies.
    """

    __slots__ = (
        "_answers",
        "_any_answer",
        "_embedded",
        "_envelopes",
        "_outer",
        "_peek",
        "_refusal",
        "_serializer",
    )

    def __init__(self, serializer: Serializer) -> None:
        self._embedded = isinstance(serializer, MsgspecSerializer)
        self._serializer = serializer
        self._outer: Serializer = serializer if self._embedded else msgpack_serializer()
        self._envelopes: dict[Any, Callable[[bytes | memoryview], Any]] = {}
        self._answers: dict[Any, Callable[[bytes | memoryview], Any]] = {}
        self._peek = self._outer.decoder(Envelope[msgspec.Raw])
        self._refusal = self._outer.decoder(_Refusal)
        self._any_answer = self._outer.decoder(_ANSWER[msgspec.Raw])

    def encode(
        self, message_type: MessageType, message: object, context: MessageContext, deadline: float | None
    ) -> bytes:
        """Return a message's bytes, envelope and all.

        Parameters:
            message_type: the message's type.
            message: the message.
            context: its identity.
            deadline: seconds since the epoch; the transport's own limit where the context has none.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, naming the type.
        """
        correlation = context.correlation_id
        headers = context.headers
        return self._outer.encode(
            Envelope(
                FORMAT,
                message_type.name,
                message_type.version,
                context.message_id,
                "" if correlation == context.message_id else correlation,
                context.causation_id,
                None if deadline is None else int(deadline * 1000),
                context.traceparent,
                context.tracestate,
                dict(headers) if headers else None,
                message if self._embedded else self._serializer.encode(message),
            )
        )

    def decode(self, message_type: MessageType, data: bytes | memoryview) -> Envelope[Any]:
        """Return the envelope with the message in it.

        Parameters:
            message_type: what is expected here.
            data: as received.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`: not an envelope, of another format, with another message or version in
                it, or with a body that does not fit; the text never quotes the body.
        """
        cls = message_type.cls
        decode = self._envelopes.get(cls)
        if decode is None:
            decode = self._envelopes[cls] = self._outer.decoder(_ENVELOPE[cls if self._embedded else bytes])
        try:
            envelope: Envelope[Any] = decode(data)
        except CatgaError as error:
            # Read again without the body, to tell a wrong envelope or version from a wrong body.
            peeked = self.peek(data)
            if peeked is None:
                raise self._foreign("bytes are no message", error) from error
            _check(message_type, peeked)
            raise _misfit(f"body is no {message_type}", _BODY, error) from error
        if (
            envelope.format != FORMAT
            or envelope.version != message_type.version
            or envelope.name != message_type.name
        ):
            _check(message_type, envelope)
        if self._embedded:
            return envelope
        return msgspec.structs.replace(envelope, body=self._serializer.decoder(cls)(envelope.body))

    def peek(self, data: bytes | memoryview) -> Envelope[Any] | None:
        """Return the envelope without reading its body, `None` where there is none to read.

        Parameters:
            data: anything that arrived.
        """
        try:
            envelope: Envelope[Any] = self._peek(data)
        except CatgaError:
            return None
        return envelope

    def encode_result(self, result: CatgaResult[Any]) -> bytes:
        """Return a result's bytes.

        A value that cannot be serialized becomes a failure that says so; details that cannot be are left out.
        """
        if isinstance(result, Success):
            value = result.value
            try:
                return self._outer.encode(
                    _Answer(ok=True, value=value if self._embedded else self._serializer.encode(value))
                )
            except CatgaError as error:
                return self._encode_error(error)
        return self._encode_error(result.error)

    def _foreign(self, what: str, error: CatgaError) -> CatgaError:
        text = error.message.partition(": ")[2]
        return CatgaError(
            f"the {what} in {self._outer.name}: {text}; do both sides use the same serializer?",
            code=ErrorCode.SERIALIZATION_FAILED,
        )

    def _is_answer(self, data: bytes | memoryview) -> bool:
        try:
            self._any_answer(data)
        except CatgaError:
            return False
        return True

    def _encode_error(self, error: CatgaError) -> bytes:
        refusal = _Refusal(
            ok=False,
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            details=dict(error.details),
        )
        try:
            return self._outer.encode(refusal)
        except CatgaError:
            return self._outer.encode(msgspec.structs.replace(refusal, details={}))

    def decode_result(self, type_: Any, data: bytes | memoryview) -> CatgaResult[Any]:
        """Return the result in an answer's bytes; what cannot be read is a failure that says so.

        Parameters:
            type_: the type of a success's value.
            data: as received.
        """
        decode = self._answers.get(type_)
        if decode is None:
            decode = self._answers[type_] = self._outer.decoder(_ANSWER[type_ if self._embedded else bytes])
        try:
            answer = decode(data)
            if answer.ok:
                value = answer.value if self._embedded else self._serializer.decoder(type_)(answer.value)
                return Success(value)
            unreadable: CatgaError | None = None
        except CatgaError as error:
            unreadable = _misfit(f"answer is no {shown_type(type_)}", _VALUE, error)
        # A refusal has a text where a success has its value, so it seldom fits the first decoder.
        try:
            refusal: _Refusal = self._refusal(data)
        except CatgaError as error:
            if unreadable is None or not self._is_answer(data):
                return Failure(self._foreign("answer cannot be read", error))
            return Failure(unreadable)
        return Failure(
            CatgaError(
                refusal.message, code=refusal.code, retryable=refusal.retryable, details=refusal.details
            )
        )


def _misfit(what: str, place: str, error: CatgaError) -> CatgaError:
    # The array around it is ours; a person looks for the field.
    text = error.message.partition(": ")[2].replace(place, "$")
    return CatgaError(f"the {what}: {text}", code=ErrorCode.SERIALIZATION_FAILED)


def _check(expected: MessageType, envelope: Envelope[Any]) -> None:
    if envelope.format != FORMAT:
        text = f"envelope format {envelope.format} is not known here, only {FORMAT}: upgrade this process"
    elif envelope.name != expected.name:
        text = f"{envelope.name} arrived where {expected.name} was expected"
    elif envelope.version != expected.version:
        text = (
            f"{envelope.name} v{envelope.version} arrived, and this process knows v{expected.version}: "
            "run the same version on both sides"
        )
    else:
        return
    raise CatgaError(text, code=ErrorCode.SERIALIZATION_FAILED)
