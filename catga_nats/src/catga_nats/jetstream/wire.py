"""A queued message as a NATS message: the body is the payload, the rest are headers (docs/nats-layout.md)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.interfaces.queue import QueuedMessage
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext
from catga_nats import headers as headers_form

MESSAGE_ID = "Nats-Msg-Id"
UNREADABLE = "unreadable"
"""The format of a message whose headers cannot be read: it is handled by no handler, and goes to the dead letters."""

_SERIALIZER = "catga-serializer"
_FINGERPRINT = "catga-fingerprint"
_CREATED = "catga-created-at"
_DUE = "catga-due-at"
_KEY = "catga-key"
_PRIORITY = "catga-priority"


def encode(message: QueuedMessage) -> dict[str, str]:
    """Return the headers of a message.

    Raises:
        SerializationError: An id, a key or a header of the sender's cannot be one.
    """
    context = message.context
    headers = headers_form.encode_as(message.name, message.schema_version, context, context.deadline)
    headers[MESSAGE_ID] = headers["catga-message-id"]
    headers[_SERIALIZER] = message.format
    headers[_CREATED] = repr(message.created_at)
    if message.fingerprint:
        headers[_FINGERPRINT] = message.fingerprint
    if message.key is not None:
        headers[_KEY] = headers_form.quoted(message.key, "key")
    if message.priority is not Priority.NORMAL:
        headers[_PRIORITY] = str(int(message.priority))
    if message.due_at:
        headers[_DUE] = repr(message.due_at)
    return headers


def decode(headers: Mapping[str, str] | None, data: bytes, *, name: str, place: str) -> QueuedMessage:
    """Return a received message.

    One that cannot be read is returned as well, so that its bytes get into the dead letters.

    Args:
        headers: As received.
        data: The payload.
        name: The wire name in its subject.
        place: Where it is in the stream: its id where it has none.
    """
    known = headers or {}
    try:
        return _read(known, data, name)
    except (CatgaError, ValueError, KeyError, OverflowError):
        message_id = unquote(known.get(MESSAGE_ID, "")) or place
        context = MessageContext(message_id[:512], message_id[:512])
        return QueuedMessage(name, 1, UNREADABLE, data, context, 0.0, 0.0)


def fingerprint(headers: Mapping[str, str]) -> str:
    """Return the fingerprint in the headers of a message, empty for none."""
    return headers.get(_FINGERPRINT, "")


def _read(headers: Mapping[str, str], data: bytes, name: str) -> QueuedMessage:
    context = headers_form.decode(headers)
    version = headers["catga-version"]
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        text = "the header catga-version is no number. Send the message's version."
        raise SerializationError(text)
    key = headers.get(_KEY)
    priority = headers.get(_PRIORITY)
    return QueuedMessage(
        headers.get("catga-name", name),
        int(version),
        headers[_SERIALIZER],
        data,
        context,
        float(headers.get(_DUE, "0")),
        float(headers[_CREATED]),
        None if key is None else unquote(key),
        Priority.NORMAL if priority is None else Priority(int(priority)),
        headers.get(_FINGERPRINT, ""),
    )


class Acknowledged(msgspec.Struct):
    """What the server answers to a publish.

    Args:
        stream: The stream that keeps it.
        seq: Its place there.
        duplicate: Whether its id was known already.
        error: Why it was refused, `None` where it was kept.
    """

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


class Refusal(msgspec.Struct):
    """Why the server refused a message.

    Args:
        err_code: The stable number.
        description: The server's text.
        code: As in HTTP.
    """

    err_code: int = 0
    description: str = ""
    code: int = 0
