"""What an application under test stores in its outbox: whether it was committed, and whether it has still to be relayed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from catga_core.errors import CatgaError
from catga_core.errors import Outcome as WriteOutcome
from catga_core.messages.message_context import MessageContext
from catga_core.unit_of_work import active_unit_of_work
from catga_testing.recording.network import Network
from catga_testing.recording.records import EnqueuedCommand, Journal, Outcome, Published


class StoredEvents:
    """Counts events as under way from their commit until the relay has handed them over; forgets those rolled back.

    Args:
        network: Where to count.
        journal: Where the events are written down.
        service: The application's name, for errors.
        relays: Tells whether this application relays its outbox.
    """

    def __init__(self, network: Network, journal: Journal, service: str, relays: Callable[[], bool]) -> None:
        self._network = network
        self._journal = journal
        self._service = service
        self._relays = relays
        self._uncommitted: set[str] = set()
        self._early: set[str] = set()
        self._waiting: dict[str, AbstractContextManager[None]] = {}

    def enqueued(self, record: EnqueuedCommand[Any]) -> None:
        """Note that a command was enqueued: one in a unit of work that is rolled back was not."""
        unit: Any = active_unit_of_work.get()
        if unit is None:
            return

        async def rolled_back(error: BaseException) -> None:
            unknown = isinstance(error, CatgaError) and error.outcome is WriteOutcome.UNKNOWN
            if not unknown and record in self._journal.enqueued:
                self._journal.enqueued.remove(record)

        unit.after_rollback(rolled_back)

    def published(self, record: Published[Any], *, relayed: bool = True) -> None:
        """Note that an event was stored in the running task's unit of work.

        Args:
            record: The event.
            relayed: Whether the outbox relay sends it; otherwise it is in a queue.
        """
        context: MessageContext = record.context
        message_id = context.message_id
        what = f"{type(record.message).__name__} ({message_id}) waits in the outbox of {self._service}"
        unit: Any = active_unit_of_work.get()

        def committed() -> None:
            record.outcome = Outcome.SUCCEEDED
            self._uncommitted.discard(message_id)
            if message_id in self._early:
                self._early.discard(message_id)
                return
            if relayed and self._relays():
                waiting = self._waiting[message_id] = self._network.working(what)
                waiting.__enter__()

        async def rolled_back(error: BaseException) -> None:
            self._uncommitted.discard(message_id)
            if isinstance(error, CatgaError) and error.outcome is WriteOutcome.UNKNOWN:
                return
            if record in self._journal.messages:
                self._journal.messages.remove(record)

        self._uncommitted.add(message_id)
        unit.after_commit(committed)
        unit.after_rollback(rolled_back)

    def handed_over(self, context: MessageContext) -> None:
        """Note that the relay has handed an event over."""
        waiting = self._waiting.pop(context.message_id, None)
        if waiting is not None:
            waiting.__exit__(None, None, None)
        elif context.message_id in self._uncommitted:
            # The relay was faster than the news of the commit.
            self._early.add(context.message_id)
