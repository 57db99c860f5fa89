"""Builds dead letters from messages and their failures."""

from __future__ import annotations

from hashlib import blake2b

from catga_core.codecs.plan import plan_of
from catga_core.codecs.serializing import MSGPACK
from catga_core.errors import CatgaError
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.durable_transport import Received
from catga_core.interfaces.endpoints import Undecoded
from catga_core.interfaces.outbox import LeasedMessage
from catga_core.log import traceback_of
from catga_core.messages import Event, MessageType
from catga_core.messages.exact import exact_encoder, is_built_in
from catga_core.messages.fingerprints import fingerprint
from catga_core.messages.message_context import MessageContext
from catga_core.messages.ordering import handling_key
from catga_core.messages.serializer import Serializer


def letter_id(message_id: str, handler: str, fingerprint: str) -> str:
    """Return the id of the dead letter of a message for a handler.

    Another message under the same id has another dead letter, so that neither replaces the other.

    Args:
        message_id: The message's id.
        handler: The handler's name, empty for none.
        fingerprint: The message's fingerprint.
    """
    # The digest covers the parts as well: no two of them are one text because both have a colon.
    parts = f"{len(message_id)}:{message_id}{handler}:{fingerprint}"
    return f"{message_id}:{handler}:{blake2b(parts.encode(), digest_size=8).hexdigest()}"


def handler_letter(
    described: MessageType,
    event: Event,
    context: MessageContext,
    handler: str,
    error: CatgaError,
    *,
    serializer: Serializer,
    now: float,
) -> DeadLetter:
    """Return the dead letter of an event whose handler failed.

    The dead letter of an event that cannot be encoded, or would be replayed as another one, has no bytes: it can be read but
    not replayed. An event that only breaks declared constraints has its bytes: it can be replayed once these allow it.

    Args:
        described: The event's type.
        event: The event.
        context: Its context.
        handler: The handler's name.
        error: The handler's error.
        serializer: The container's serializer.
        now: Seconds since the Unix epoch.
    """
    format, data = _bytes_of(described, event, serializer)
    return DeadLetter(
        id=letter_id(context.message_id, handler, fingerprint(described, event, serializer.encode)),
        source=DeadLetterSource.HANDLER,
        handler=handler,
        name=described.name,
        schema_version=described.version,
        format=format,
        data=data,
        context=context,
        code=error.code,
        message=error.message,
        traceback=traceback_of(error.__cause__),
        attempts=1,
        first_failed_at=now,
        last_failed_at=now,
        key=_key_of(event),
    )


def _bytes_of(described: MessageType, event: Event, serializer: Serializer) -> tuple[str, bytes]:
    """Return the format and the bytes of an event; two empty ones where it cannot be replayed."""
    try:
        try:
            return serializer.name, exact_encoder(serializer, described.cls)(event)
        except CatgaError:
            format = serializer.name if is_built_in(serializer) else MSGPACK
            findings = plan_of(described.cls).findings(event, format)
            if findings and all(each.declared and not each.mistyped for each in findings):
                return serializer.name, serializer.encode(event)
            return "", b""
    except Exception:  # noqa: BLE001 - code of the event's own class; the rest of the letter is worth keeping
        return "", b""


def transport_letter(message: Undecoded, error: CatgaError, *, now: float) -> DeadLetter:
    """Return the dead letter of an event that arrived and could not be decoded.

    Args:
        message: What arrived.
        error: Why it could not be decoded.
        now: Seconds since the Unix epoch.
    """
    digest = blake2b(message.data, digest_size=16).hexdigest()
    return DeadLetter(
        id=letter_id(message.context.message_id, "", f"{message.name}@{message.version}#{digest}"),
        source=DeadLetterSource.TRANSPORT,
        handler="",
        name=message.name,
        schema_version=message.version,
        format=message.format,
        data=message.data,
        context=message.context,
        code=error.code,
        message=error.message,
        traceback=None,
        attempts=1,
        first_failed_at=now,
        last_failed_at=now,
    )


def queue_letter(received: Received, handler: str, error: CatgaError, *, now: float) -> DeadLetter:
    """Return the dead letter of a message whose handler failed in every attempt that its queue allows.

    Args:
        received: The message.
        handler: The handler's name.
        error: The error of its last attempt.
        now: Seconds since the Unix epoch.
    """
    message = received.message
    return DeadLetter(
        id=letter_id(message.context.message_id, handler, message.fingerprint),
        source=DeadLetterSource.QUEUE,
        handler=handler,
        name=message.name,
        schema_version=message.schema_version,
        format=message.format,
        data=message.data,
        context=message.context,
        code=error.code,
        message=error.message,
        traceback=traceback_of(error.__cause__),
        attempts=received.attempt,
        # The time of the first failure is not kept; it was after this.
        first_failed_at=max(message.created_at, message.due_at),
        last_failed_at=now,
        queue=received.queue,
        key=message.key,
    )


def outbox_letter(leased: LeasedMessage, error: CatgaError, *, now: float) -> DeadLetter:
    """Return the dead letter of a message that the outbox relay gave up.

    Args:
        leased: The message.
        error: The error of its last attempt.
        now: Seconds since the Unix epoch.
    """
    message = leased.message
    return DeadLetter(
        id=letter_id(message.context.message_id, "", message.fingerprint),
        source=DeadLetterSource.OUTBOX,
        handler="",
        name=message.name,
        schema_version=message.schema_version,
        format=message.format,
        data=message.data,
        context=message.context,
        code=error.code,
        message=error.message,
        traceback=traceback_of(error.__cause__),
        attempts=leased.attempts + 1,
        # The time of the first failure is not kept; it was after this.
        first_failed_at=message.created_at,
        last_failed_at=now,
        key=message.key,
    )


def _key_of(event: Event) -> str | None:
    try:
        return handling_key(event)
    except Exception:  # noqa: BLE001 - the application's function; the letter is kept all the same, without an order
        return None
