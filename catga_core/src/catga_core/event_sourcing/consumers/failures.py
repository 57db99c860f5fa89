"""Failures of one event: whether the event, the storage or a lost checkpoint is the cause, and whether to retry."""

from __future__ import annotations

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.errors.codes import is_fault
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import logger, traceback_of


class Halted(Exception):  # noqa: N818 - ends a session by its policy, and is never seen outside
    """An event failed for good, and the policy is to stop.

    Args:
        stored: The event.
        error: Its failure.
    """

    def __init__(self, stored: StoredEvent, error: BaseException) -> None:
        super().__init__()
        self.stored: StoredEvent = stored
        self.error: BaseException = error


def is_storage_failure(error: BaseException) -> bool:
    """Return whether the storage failed, so that no event is to blame."""
    return isinstance(error, CatgaError) and error.code == ErrorCode.PERSISTENCE_FAILED


def may_mean_lost_checkpoint(error: BaseException) -> bool:
    """Return whether an error may mean that another process has the checkpoint now; the checkpoint itself decides."""
    return isinstance(error, CatgaError) and (
        error.code == ErrorCode.CONFLICT or isinstance(error, LeaseLostError)
    )


def is_retryable(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    return not isinstance(error, CatgaError) or error.retryable


def log_interruption(event: str, error: BaseException, **consumer: str) -> None:
    """Log that a consumer was interrupted and tries again: a conflict with another process is a warning, all else an error.

    Args:
        event: The log event.
        error: What interrupted it. A traceback is logged for a fault of the program only.
        consumer: The consumer's kind and name.
    """
    code = error.code if isinstance(error, CatgaError) else ErrorCode.HANDLER_FAILED.value
    if code in {ErrorCode.CONFLICT, ErrorCode.LOCKED}:
        logger().warning(event, **consumer, error=describe(error))
    else:
        stack = traceback_of(error) if is_fault(code) else None
        logger().error(event, **consumer, error=describe(error), stack=stack)


def describe(error: BaseException) -> str:
    """Return an error in one line."""
    return str(error) if isinstance(error, CatgaError) else f"{type(error).__name__}: {error}"
