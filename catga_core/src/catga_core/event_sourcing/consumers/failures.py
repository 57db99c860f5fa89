"""Tells an event's failure from the storage's, and runs what handles one event."""

from __future__ import annotations

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.event_sourcing.consumers.work import Work
from catga_core.interfaces.event_store import StoredEvent


class Halted(Exception):  # noqa: N818 - not an error of ours: what ends a follower by its policy
    """An event failed for good, and the policy is to stop.

    Parameters:
        stored: the event.
        error: why.
    """

    def __init__(self, stored: StoredEvent, error: BaseException) -> None:
        super().__init__()
        self.stored: StoredEvent = stored
        self.error: BaseException = error


async def handle_one(work: Work, stored: StoredEvent) -> None:
    """Have one event handled.

    Raises:
        Exception: What the handler raises. A lease lost that the handler held itself is not the consumer's: it is raised as a
            `CatgaError` of the same code.
    """
    try:
        await work.handle(stored)
    except LeaseLostError as error:
        raise CatgaError(error.message, code=error.code, details=error.details) from error


def is_the_storages(error: BaseException) -> bool:
    """Tell whether the storage is away: no event is to blame."""
    return isinstance(error, CatgaError) and error.code == ErrorCode.PERSISTENCE_FAILED


def may_tell_of_a_loss(error: BaseException) -> bool:
    """Tell whether an error may mean that another one follows now; the checkpoint says whether it does."""
    return isinstance(error, CatgaError) and (
        error.code == ErrorCode.CONFLICT or isinstance(error, LeaseLostError)
    )


def may_go_away(error: BaseException) -> bool:
    """Tell whether trying again may help."""
    return not isinstance(error, CatgaError) or error.retryable


def told(error: BaseException) -> str:
    """Return an error in one line."""
    return str(error) if isinstance(error, CatgaError) else f"{type(error).__name__}: {error}"
