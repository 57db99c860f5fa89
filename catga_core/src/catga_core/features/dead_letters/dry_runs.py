"""Dry runs: a replay of which nothing remains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from catga_core.errors import CatgaError
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher, Outgoing
from catga_core.messages.results import CatgaResult, Failure
from catga_core.messages.scheduled import ScheduledId


class DryRun(msgspec.Struct, frozen=True):
    """What a replay would have done.

    Args:
        result: What the handler ended with.
        published: The events that it published, for a letter of the outbox the event itself.
        enqueued: The commands that it enqueued.
        sent: The commands that it sent to other processes; each was answered with a failure of code `DRY_RUN`.
        cancelled: The enqueued commands that it cancelled.
    """

    result: CatgaResult[Any]
    published: Sequence[Outgoing] = ()
    enqueued: Sequence[Outgoing] = ()
    sent: Sequence[Outgoing] = ()
    cancelled: Sequence[ScheduledId] = ()


async def dry_run(
    dispatcher: Dispatcher, storage: Storage, handle: Callable[[], Awaitable[CatgaResult[Any]]]
) -> DryRun:
    """Handle a message, record what is sent, and roll back what is stored.

    Args:
        dispatcher: The container's dispatcher.
        storage: The container's storage.
        handle: Handles the message.
    """
    result: CatgaResult[Any] | None = None
    with dispatcher.recordings.record() as recording:
        try:
            async with storage.unit_of_work():
                result = await handle()
                raise _RollBack  # noqa: TRY301 - it rolls the unit of work back
        except _RollBack:
            pass
        except CatgaError as error:
            result = Failure(error)
    if result is None:
        raise RuntimeError
    return DryRun(
        result,
        tuple(recording.published),
        tuple(recording.enqueued),
        tuple(recording.sent),
        tuple(recording.cancelled),
    )


class _RollBack(Exception):  # noqa: N818 - control flow, never seen outside
    """Ends the unit of work of a dry run."""
