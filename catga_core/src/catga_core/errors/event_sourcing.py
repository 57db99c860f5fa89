"""Errors of the event store."""

from __future__ import annotations

from typing import Any

from catga_core.errors.base import CatgaError
from catga_core.errors.codes import ErrorCode
from catga_core.errors.messaging import SerializationError
from catga_core.errors.outcome import Outcome
from catga_core.errors.storage import ConflictError


class ConcurrencyError(ConflictError):
    """A stream is not at the version an append expected; nothing was written.

    Args:
        stream_id: The stream.
        expected: The expected version, 0 for a stream without events.
        actual: The stream's version.
    """

    stream_id: str
    expected: int
    actual: int

    def __init__(self, stream_id: str, expected: int, actual: int) -> None:
        wanted = f"at version {expected}" if expected else "without events (NO_STREAM)"
        super().__init__(
            f"The stream {stream_id!r} was expected {wanted} and is at version {actual}. Load it again and retry the "
            "decision.",
            details={"stream_id": stream_id, "expected": expected, "actual": actual},
        )
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stream_id, self.expected, self.actual)


class RepeatedEventError(ConflictError):
    """An append holds an event that its stream already has, together with other events; nothing was written.

    Args:
        stream_id: The stream.
        message_id: The message id of the event that the stream already has.
        version: That event's version.
    """

    stream_id: str
    message_id: str
    version: int

    def __init__(self, stream_id: str, message_id: str, version: int) -> None:
        super().__init__(
            f"The stream {stream_id!r} already has the event {message_id!r} at version {version}, without the other events "
            "of this append. Repeat an append unchanged, or give new events new message ids.",
            retryable=False,
            details={"stream_id": stream_id, "message_id": message_id, "version": version},
        )
        self.stream_id = stream_id
        self.message_id = message_id
        self.version = version


class EventIdConflictError(ConflictError):
    """An append holds another event under a message id that its stream already has; nothing was written.

    Args:
        stream_id: The stream.
        message_id: The message id that both events have.
        version: The stored event's version.
    """

    stream_id: str
    message_id: str
    version: int

    def __init__(self, stream_id: str, message_id: str, version: int) -> None:
        super().__init__(
            f"The stream {stream_id!r} has another event under the message id {message_id!r}, at version {version}; nothing "
            "was written. Give a new event a new message id, or repeat an append unchanged.",
            retryable=False,
            outcome=Outcome.NOT_WRITTEN,
            details={"stream_id": stream_id, "message_id": message_id, "version": version},
        )
        self.stream_id = stream_id
        self.message_id = message_id
        self.version = version

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stream_id, self.message_id, self.version)


class EventTooLargeError(SerializationError):
    """An event exceeds `max_event_bytes`; nothing was written.

    Args:
        stream_id: The stream.
        event_type: The event's name and version.
        size: Its size in bytes.
        limit: `max_event_bytes`.
    """

    stream_id: str
    size: int
    limit: int

    def __init__(self, stream_id: str, event_type: str, size: int, limit: int) -> None:
        super().__init__(
            f"The event {event_type} for the stream {stream_id!r} has {size} bytes and max_event_bytes is {limit}. Keep "
            "large data elsewhere and refer to it in the event, or raise max_event_bytes.",
            outcome=Outcome.NOT_WRITTEN,
            retryable=False,
            details={"stream_id": stream_id, "size": size, "limit": limit},
        )
        self.stream_id = stream_id
        self.size = size
        self.limit = limit


class StreamNotFoundError(CatgaError):
    """A stream has no events, or fewer than were asked for.

    Args:
        stream_id: The stream.
        what: What was asked for, as `Order 'o-17'`.
        why: What is stored instead, as a clause.
    """

    stream_id: str

    def __init__(self, stream_id: str, what: str, why: str) -> None:
        super().__init__(
            f"{what} was not found: {why}", code=ErrorCode.NOT_FOUND, details={"stream_id": stream_id}
        )
        self.stream_id = stream_id
