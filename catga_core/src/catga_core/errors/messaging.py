"""Errors of sending, delivering and handling messages."""

from __future__ import annotations

from typing import ClassVar

from catga_core.errors.base import FixedCodeError
from catga_core.errors.codes import ErrorCode
from catga_core.errors.outcome import Outcome


class HandlerNotFoundError(FixedCodeError):
    """No handler is registered for a message."""

    CODE: ClassVar[ErrorCode] = ErrorCode.HANDLER_NOT_FOUND


class TransportError(FixedCodeError):
    """A transport could not send a message or receive its response."""

    CODE: ClassVar[ErrorCode] = ErrorCode.TRANSPORT_FAILED


class RequestTimeoutError(FixedCodeError):
    """A request was not answered before its deadline."""

    CODE: ClassVar[ErrorCode] = ErrorCode.TIMEOUT


class SerializationError(FixedCodeError):
    """A value could not be encoded, or bytes could not be decoded."""

    CODE: ClassVar[ErrorCode] = ErrorCode.SERIALIZATION_FAILED


class UnknownMessageError(SerializationError):
    """No class of this process has a stored message's name and version.

    It is retryable: another process, or the next version of this one, may have the class.

    Args:
        name: The wire name.
        version: The version.
        text: What is wrong, and how to fix it.
    """

    name: str
    version: int

    def __init__(self, name: str, version: int, text: str) -> None:
        super().__init__(text, retryable=True, details={"name": name, "version": version})
        self.name = name
        self.version = version


class AmbiguousMessageError(SerializationError):
    """Several imported classes have a stored message's name and version.

    It is retryable: what is stored waits until one of the classes is renamed or registered.

    Args:
        name: The wire name.
        version: The version.
        text: What is wrong, and how to fix it.
    """

    name: str
    version: int

    def __init__(self, name: str, version: int, text: str) -> None:
        super().__init__(text, retryable=True, details={"name": name, "version": version})
        self.name = name
        self.version = version


class InternalError(FixedCodeError):
    """An invariant of Catga or of application code called by it was violated."""

    CODE: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR


class ConcurrencyLimitError(FixedCodeError):
    """A receiver refused a message because its concurrency limit is reached.

    Args:
        name: The message's name.
        limit: How many messages of that name are handled at once.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.CONCURRENCY_LIMITED
    limit: int

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            f"{name} was refused: the receiver is already handling {limit}, its limit. Retry later, raise "
            "max_concurrent_requests, or start another replica.",
            outcome=Outcome.NOT_STARTED,
        )
        self.limit = limit


class MessageTooLargeError(SerializationError):
    """A message or response exceeds the transport's size limit.

    Args:
        name: The message, as `the request orders.create`.
        size: Its size in bytes.
        limit: The limit in bytes.
        fix: How to raise the limit, in the imperative.
    """

    size: int
    limit: int

    def __init__(self, name: str, size: int, limit: int, *, fix: str) -> None:
        super().__init__(
            f"{name} has {size} bytes and the limit is {limit}. Send less data, or {fix}.",
            details={"size": size, "limit": limit},
        )
        self.size = size
        self.limit = limit


class DuplicateInProgressError(FixedCodeError):
    """Another process is handling a command with the same idempotency key.

    Args:
        name: The command's name.
        key: The idempotency key; neither the text nor the details have it, because fields may be part of it.
        lease_expires_at: When the other's lease ends unless renewed, in seconds since 1970.
        seconds_left: Seconds until then.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.DUPLICATE_IN_PROGRESS
    key: str
    lease_expires_at: float

    def __init__(self, name: str, key: str, *, lease_expires_at: float, seconds_left: float) -> None:
        super().__init__(
            f"{name} with the same idempotency key is being handled elsewhere and did not finish in time. Retry; its "
            f"lease ends in {seconds_left:.3g} s unless it is renewed.",
            outcome=Outcome.IN_PROGRESS,
            details={"lease_expires_at": lease_expires_at},
        )
        self.key = key
        self.lease_expires_at = lease_expires_at
