"""Parked events: written as dead letters, and read back from the log."""

from __future__ import annotations

from collections.abc import Mapping

from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.interfaces.event_log import EventLog, RecordedEvent
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import traceback_of
from catga_core.messages.message_context import MessageContext

STREAM = "catga-stream"
"""The header of a dead letter with the event's stream."""

VERSION = "catga-stream-version"
"""The header of a dead letter with the event's version in its stream."""


def dead_letter_of(
    stored: StoredEvent,
    error: BaseException,
    *,
    handler: str,
    key: str,
    attempts: int,
    now: float,
    headers: Mapping[str, str],
) -> DeadLetter:
    """Return the dead letter of an event that failed.

    Args:
        stored: The event.
        error: Its failure.
        handler: The projection's or subscription's name.
        key: The consumer's key, with which the letter's id begins.
        attempts: How many attempts were made.
        now: Seconds since the Unix epoch.
        headers: Further strings to keep.
    """
    record = stored.recorded.record
    context = MessageContext(
        stored.message_id,
        stored.correlation_id or stored.message_id,
        stored.causation_id,
        None,
        {**stored.headers, **headers, STREAM: stored.stream_id, VERSION: str(stored.version)},
    )
    return DeadLetter(
        # An id is unique in its stream only.
        id=f"{key}/{stored.position}/{stored.message_id}",
        source=DeadLetterSource.PROJECTION,
        handler=handler,
        name=record.name,
        schema_version=record.schema_version,
        format=record.format,
        data=record.data,
        context=context,
        code=error.code if isinstance(error, CatgaError) else ErrorCode.HANDLER_FAILED.value,
        message=error.message if isinstance(error, CatgaError) else f"{type(error).__name__}: {error}",
        traceback=traceback_of(error),
        attempts=attempts,
        first_failed_at=now,
        last_failed_at=now,
        key=stored.stream_id,
    )


async def event_of(letter: DeadLetter, log: EventLog) -> RecordedEvent | None:
    """Return the event of a dead letter from the log, `None` where the log does not have it.

    Args:
        letter: Made by `dead_letter_of`.
        log: The log.
    """
    stream, version = letter.context.headers.get(STREAM), letter.context.headers.get(VERSION, "")
    if not stream or not version.isdecimal() or version == "0":
        return None
    number = int(version)
    found = await log.read_stream(stream, from_version=number, to_version=number, limit=1, backward=False)
    if not found or found[0].record.message_id != letter.context.message_id:
        return None
    return found[0]
