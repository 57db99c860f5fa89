"""Stable error codes and their retryable flags."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Stable code of a failed result, with a fixed retryable flag.

    Codes are part of the wire format: their text never changes. An application may use its own codes; those are
    not retryable unless the error says so.
    """

    HANDLER_NOT_FOUND = "HANDLER_NOT_FOUND"
    HANDLER_FAILED = "HANDLER_FAILED"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    TIMEOUT = "TIMEOUT"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    RATE_LIMITED = "RATE_LIMITED"
    CONCURRENCY_LIMITED = "CONCURRENCY_LIMITED"
    CONFLICT = "CONFLICT"
    NOT_FOUND = "NOT_FOUND"
    LOCKED = "LOCKED"
    DUPLICATE_IN_PROGRESS = "DUPLICATE_IN_PROGRESS"
    TRANSPORT_FAILED = "TRANSPORT_FAILED"
    PERSISTENCE_FAILED = "PERSISTENCE_FAILED"
    SERIALIZATION_FAILED = "SERIALIZATION_FAILED"
    SAGA_CHANGED = "SAGA_CHANGED"
    SAGA_CANCELLED = "SAGA_CANCELLED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


_RETRYABLE: frozenset[str] = frozenset(
    {
        ErrorCode.TIMEOUT,
        ErrorCode.CIRCUIT_OPEN,
        ErrorCode.RATE_LIMITED,
        ErrorCode.CONCURRENCY_LIMITED,
        ErrorCode.CONFLICT,
        ErrorCode.LOCKED,
        ErrorCode.DUPLICATE_IN_PROGRESS,
        ErrorCode.TRANSPORT_FAILED,
        ErrorCode.PERSISTENCE_FAILED,
    }
)


_FAULTS: frozenset[str] = frozenset({ErrorCode.HANDLER_FAILED, ErrorCode.INTERNAL_ERROR})


def is_fault(code: str) -> bool:
    """Return whether a failure with this code is a fault of the program, which is logged as an error with its traceback.

    Every other failure is one that somebody decided on, such as a conflict.

    Args:
        code: A value of `ErrorCode`, or an application's own code.
    """
    return code in _FAULTS


def is_retryable(code: str) -> bool:
    """Return whether errors with this code are retryable by default.

    Args:
        code: A value of `ErrorCode`, or an application's own code (never retryable by default).

    Returns:
        The default of `CatgaError.retryable`.
    """
    return code in _RETRYABLE
