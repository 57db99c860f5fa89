"""Tells an event's failure from the storage's, and runs what handles one event."""

from __future__ import annotations

import asyncio

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.event_sourcing.consumers.letters import context_of
from catga_core.event_sourcing.consumers.work import Work
from catga_core.interfaces.event_store import StoredEvent
from catga_core.messages.context import active_context
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself


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
    """Have one event handled, in its own message's surroundings.

    Raises:
        Exception: what the handler raises; a `CancelledError` of its own, while nobody cancels us, is a failure as well. Nor is
            a lease lost that it held itself the follower's place: that comes as a `CatgaError` of the same code.
    """
    token = active_context.set(context_of(stored))
    try:
        await work.handle(stored)
    except asyncio.CancelledError as error:
        if being_cancelled():
            raise
        raise cancelled_itself(work.name) from error
    except LeaseLostError as error:
        raise CatgaError(error.message, code=error.code, details=error.details) from error
    finally:
        active_context.reset(token)


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
