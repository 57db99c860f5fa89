"""How a dead letter is made of a message and its failure."""

from __future__ import annotations

from catga_core.errors import CatgaError
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.outbox import LeasedMessage
from catga_core.log import traceback_of
from catga_core.messages import Event, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.serializer import Serializer


def letter_id(message_id: str, handler: str) -> str:
    """Return the identity of the letter of a message and the handler it was for, empty for none."""
    return f"{message_id}:{handler}"


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
    """Return the letter of an event that a handler failed for.

    An event that has no bytes, as may be within one process, makes a letter without any: it can be read and not replayed.

    Parameters:
        described: the event's type.
        event: the event.
        context: its context.
        handler: the handler's name.
        error: what it failed with.
        serializer: the container's.
        now: seconds since the Unix epoch.
    """
    format, data = serializer.name, b""
    try:
        data = serializer.encode(event)
    except CatgaError:
        format = ""
    return DeadLetter(
        id=letter_id(context.message_id, handler),
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
    )


def outbox_letter(leased: LeasedMessage, error: CatgaError, *, now: float) -> DeadLetter:
    """Return the letter of a message that a relay has given up.

    Parameters:
        leased: the message.
        error: what its last try failed with.
        now: seconds since the Unix epoch.
    """
    message = leased.message
    return DeadLetter(
        id=letter_id(message.context.message_id, ""),
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
        # When it failed first is not kept; it was not before this.
        first_failed_at=message.created_at,
        last_failed_at=now,
    )
