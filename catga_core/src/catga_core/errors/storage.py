"""Errors of stores, units of work, leases and locks."""

from __future__ import annotations

from typing import Any, ClassVar

from catga_core.errors.base import FixedCodeError
from catga_core.errors.codes import ErrorCode
from catga_core.errors.outcome import Outcome


class PersistenceError(FixedCodeError):
    """A store could not read or write.

    `outcome` is `UNKNOWN` where the write may have been applied, and `NOT_WRITTEN` where it was not.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.PERSISTENCE_FAILED


class ConflictError(FixedCodeError):
    """A write conflicts with what another writer has stored; nothing was written."""

    CODE: ClassVar[ErrorCode] = ErrorCode.CONFLICT


class CheckpointConflictError(ConflictError):
    """A checkpoint is not at the position that a save expected; nothing was written.

    Args:
        name: The checkpoint's name.
        expected: The position that was expected.
        actual: Its stored position.
    """

    name: str
    expected: int
    actual: int

    def __init__(self, name: str, expected: int, actual: int) -> None:
        super().__init__(
            f"The checkpoint {name!r} was expected at position {expected} and is at {actual}: another consumer uses this "
            "name. Load the checkpoint again and continue from there.",
            details={"checkpoint": name, "expected": expected, "actual": actual},
        )
        self.name = name
        self.expected = expected
        self.actual = actual


class MessageIdConflictError(ConflictError):
    """A message id is known for another message; nothing was written.

    Args:
        message_id: The message id that both messages have.
        store: Which store knows it, as `the outbox`.
    """

    message_id: str
    store: str

    def __init__(self, message_id: str, store: str) -> None:
        super().__init__(
            f"The message id {message_id!r} is known to {store} for another message or other content; nothing was written. "
            "Give a new message a new message id, or repeat a message unchanged.",
            retryable=False,
            outcome=Outcome.NOT_WRITTEN,
            details={"message_id": message_id},
        )
        self.message_id = message_id
        self.store = store

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message_id, self.store)


class LockedError(FixedCodeError):
    """A lock or lease is held by another owner."""

    CODE: ClassVar[ErrorCode] = ErrorCode.LOCKED


class LockTimeoutError(LockedError):
    """A lock was not acquired within the timeout.

    Args:
        name: The lock's name.
        timeout: How long the caller waited, in seconds.
    """

    name: str

    def __init__(self, name: str, timeout: float) -> None:
        super().__init__(
            f"The lock {name!r} is held by another owner and was not released within {timeout:g} s. Retry, or wait longer.",
            details={"lock": name},
        )
        self.name = name


class LeaseLostError(LockedError):
    """A lease expired or was taken over; its former owner must stop.

    Args:
        thing: What was leased, as `the lock 'stock'`.
        reason: Why it was lost, as a clause.
    """

    thing: str

    def __init__(self, thing: str, reason: str) -> None:
        super().__init__(
            f"{thing} is no longer yours: {reason}. Stop the work that relied on it.", details={"lost": thing}
        )
        self.thing = thing
