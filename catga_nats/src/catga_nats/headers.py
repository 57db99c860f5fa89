"""The other form of the envelope: ids as NATS headers, and the body alone as payload (docs/wire-format.md)."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from catga_core.errors import CatgaError, ErrorCode, SerializationError, is_retryable
from catga_core.identifiers import new_id
from catga_core.messages import MessageType
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.message_context import NO_HEADERS, MessageContext
from catga_core.messages.peer_texts import check_identity, check_peer_name
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serialization import FORMAT, check_texts, refusal_of, undecodable, unserializable
from catga_core.messages.serializer import Serializer

MARK = "catga-format"
"""The header that tells this form from the other; its value is the envelope's version."""

_STATUS = "catga-status"
_FAR = 1e12  # seconds
_LONG = 10  # digits of a version
# What `quoted` leaves as it is.
_PLAIN = re.compile(r"(?:[!-$&-~](?:[ -$&-~]*[!-$&-~])?)?")
_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Printable ASCII stays as it is; "%" itself, everything else and a space at either end are percent-encoded, because a
# NATS header is trimmed, loses line breaks, and is read in different encodings by different clients.
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# Kinds of headers: of the sender, one of ours, and one of ours that a foreign peer has written in another case.
_OWN, _RESERVED, _RESPELT = range(3)
_TRACE = ("traceparent", "tracestate")


def is_headers_form(headers: Mapping[str, str]) -> bool:
    """Tell whether a message with these headers has its envelope in them."""
    return MARK in headers or any(key.lower() == MARK for key in headers)


def encode(message_type: MessageType, context: MessageContext, deadline: float | None) -> dict[str, str]:
    """Return the headers that carry a message's envelope.

    Raises:
        CatgaError: `SERIALIZATION_FAILED` for an id or a header of the sender's own that cannot be one.
    """
    return encode_as(message_type.name, message_type.version, context, deadline)


def encode_as(name: str, version: int, context: MessageContext, deadline: float | None) -> dict[str, str]:
    """As `encode`, for a message that is bytes already.

    Raises:
        CatgaError: As `encode`.
    """
    check_texts(context)
    check_identity(context)
    headers: dict[str, str] = {}
    for key, value in context.headers.items():
        if not _KEY.fullmatch(key) or _reserved(key.lower()):
            raise SerializationError(
                f"the header {key!r} cannot travel as a NATS header: use letters, digits and '-', "
                "and no name that begins with 'catga-' or 'nats-'",
            )
        headers[key] = quoted(value, f"headers[{key!r}]")
    headers[MARK] = str(FORMAT)
    headers["catga-name"] = name
    headers["catga-version"] = str(version)
    headers["catga-message-id"] = quoted(context.message_id, "message_id")
    if context.correlation_id != context.message_id:
        headers["catga-correlation-id"] = quoted(context.correlation_id, "correlation_id")
    if context.causation_id is not None:
        headers["catga-causation-id"] = quoted(context.causation_id, "causation_id")
    # Neither infinity nor "not a number" is a limit.
    if deadline is not None and abs(deadline) < _FAR:
        headers["catga-deadline"] = str(int(deadline * 1000))
    if context.traceparent is not None:
        headers["traceparent"] = context.traceparent
    if context.tracestate is not None:
        headers["tracestate"] = context.tracestate
    return headers


def shape(message_type: MessageType, headers: Mapping[str, str]) -> tuple[str, int]:
    """Return the wire name and version in a message's headers, those that are expected where it has none.

    Args:
        message_type: What is expected.
        headers: As received.

    Raises:
        CatgaError: `SERIALIZATION_FAILED` for a version that is not a number.
    """
    known = {key.lower(): value for key, value in headers.items()}
    version = known.get("catga-version", str(message_type.version))
    if not (version.isascii() and version.isdigit() and len(version) < _LONG):
        text = "the header catga-version must be a whole number from 1. Send the message's version."
        raise SerializationError(text)
    name = known.get("catga-name", message_type.name)
    check_peer_name(name)
    return name, int(version)


def decode(headers: Mapping[str, str]) -> MessageContext:
    """Return the context in a message's headers; only the mark is demanded of a foreign peer.

    Raises:
        CatgaError: `SERIALIZATION_FAILED` for another format, or a deadline that is not a number.
    """
    own: dict[str, str] = {}
    known = headers
    for key, value in headers.items():
        kind = _kind_of(key)
        if kind == _OWN:
            own[key] = unquote(value)
        elif kind == _RESPELT:
            known = {key.lower(): value for key, value in headers.items()}
    _expect("envelope format", known[MARK], str(FORMAT))
    message_id = unquote(known.get("catga-message-id", "")) or new_id()
    causation = known.get("catga-causation-id")
    deadline = known.get("catga-deadline")
    try:
        seconds = None if deadline is None else int(deadline) / 1000
    except (ValueError, OverflowError):
        raise SerializationError(
            "the header catga-deadline is not a number: send milliseconds since 1970 UTC",
        ) from None
    context = MessageContext(
        message_id,
        unquote(known.get("catga-correlation-id", "")) or message_id,
        None if causation is None else unquote(causation),
        seconds,
        own or NO_HEADERS,
        known.get("traceparent"),
        known.get("tracestate"),
    )
    check_identity(context)
    return context


def encode_result(
    result: CatgaResult[Any], bodies: BodyCodec, message_type: MessageType
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the payload of an answer; there always are some.

    Args:
        result: The result.
        bodies: Encodes its value.
        message_type: What is answered.
    """
    serializer = bodies.serializer
    error: Any
    if isinstance(result, Success):
        value = result.value
        try:
            bodies.check_value(message_type.result, value, answer_of(message_type))
            return {_STATUS: "ok"}, serializer.encode(value)
        except Exception as cause:  # noqa: BLE001  # a serializer of the application's may raise anything
            error = cause if isinstance(cause, CatgaError) else unserializable(value, cause)
    else:
        error = result.error if isinstance(result, Failure) else result
    refusal = refusal_of(error, serializer.encode)
    try:
        data = serializer.encode(refusal.details) if refusal.details else b""
    except Exception:  # noqa: BLE001  # as above
        data = b""
    return {
        _STATUS: "error",
        "catga-code": quoted(refusal.code),
        "catga-message": quoted(refusal.message),
        "catga-retryable": "true" if refusal.retryable else "false",
    }, data


def answer_of(message_type: MessageType) -> str:
    """Return what a message's result is called in errors."""
    return f"the result of {message_type.cls.__name__}"


def decode_result(
    type_: Any, headers: Mapping[str, str], data: bytes, serializer: Serializer
) -> CatgaResult[Any] | None:
    """Return the result in an answer, `None` when it is not of this form."""
    known = {key.lower(): value for key, value in headers.items()}
    status = known.get(_STATUS)
    if status is None:
        return None
    if status == "ok":
        try:
            return Success(serializer.decoder(type_)(data))
        except Exception as cause:  # noqa: BLE001  # a serializer of the application's may raise anything
            error = cause if isinstance(cause, CatgaError) else undecodable(type_, cause)
            return Failure(error)
    code = unquote(known.get("catga-code", ErrorCode.INTERNAL_ERROR))
    retryable = known.get("catga-retryable")
    details: dict[str, Any] = {}
    if data:
        try:
            details = serializer.decoder(dict[str, Any])(data)
        except Exception:  # noqa: BLE001  # as above
            details = {}
    return Failure(
        CatgaError(
            unquote(known.get("catga-message", "")),
            code=code,
            retryable=is_retryable(code) if retryable is None else retryable == "true",
            details=details,
        )
    )


def size(headers: Mapping[str, str]) -> int:
    """Return how many bytes headers take at most; the server counts them as part of the payload."""
    return 12 + 4 * len(headers) + sum(map(len, headers)) + sum(map(len, headers.values()))


def _reserved(key: str) -> bool:
    return key.startswith(("catga-", "nats-")) or key in _TRACE or key in {"status", "description"}


@functools.lru_cache(maxsize=1024)
def _kind_of(key: str) -> int:
    lower = key.lower()
    if not _reserved(lower):
        return _OWN
    return _RESERVED if key == lower or lower.startswith("nats-") else _RESPELT


def quoted(value: str, what: str = "") -> str:
    """Return a text as the value of a header: printable ASCII, percent-encoded where it is not.

    Args:
        value: The text.
        what: What it is, for errors.

    Raises:
        SerializationError: It holds a lone surrogate.
    """
    if _PLAIN.fullmatch(value):
        return value
    try:
        made = quote(value, safe=_SAFE)
    except UnicodeError:
        text = f"{what} holds a lone surrogate, which has no bytes: write it as valid Unicode"
        raise SerializationError(text) from None
    if made != made.strip():
        head = len(made) - len(made.lstrip())
        tail = len(made) - len(made.rstrip()) if head < len(made) else 0
        made = "%20" * head + made.strip() + "%20" * tail
    return made


def _expect(what: str, got: str, wanted: str) -> None:
    if got != wanted:
        raise SerializationError(
            f"{what} {got[:80]!r} arrived, and this process knows {wanted!r}: run the same on both sides",
        )


__all__ = [
    "MARK",
    "answer_of",
    "decode",
    "decode_result",
    "encode",
    "encode_as",
    "encode_result",
    "is_headers_form",
    "quoted",
    "shape",
    "size",
]
