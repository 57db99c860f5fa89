"""What is in the outbox of an application under test, and has still to be relayed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from catga_core.messages.message_context import MessageContext
from catga_core.unit_of_work import active_unit_of_work
from catga_testing.recording.network import Network


class StoredEvents:
    """Counts events as under way from their commit until the relay has handed them over.

    Args:
        network: Where to count.
        service: The application's name, for errors.
    """

    def __init__(self, network: Network, service: str) -> None:
        self._network = network
        self._service = service
        self._uncommitted: set[str] = set()
        self._early: set[str] = set()
        self._waiting: dict[str, AbstractContextManager[None]] = {}

    def published(self, event: object, context: MessageContext) -> None:
        """Note that an event was stored in the running task's unit of work."""
        message_id = context.message_id
        what = f"{type(event).__name__} ({message_id}) waits in the outbox of {self._service}"
        unit: Any = active_unit_of_work.get()

        def committed() -> None:
            self._uncommitted.discard(message_id)
            if message_id in self._early:
                self._early.discard(message_id)
                return
            waiting = self._waiting[message_id] = self._network.working(what)
            waiting.__enter__()

        self._uncommitted.add(message_id)
        unit.after_commit(committed)

    def handed_over(self, context: MessageContext) -> None:
        """Note that the relay has handed an event over."""
        waiting = self._waiting.pop(context.message_id, None)
        if waiting is not None:
            waiting.__exit__(None, None, None)
        elif context.message_id in self._uncommitted:
            # The relay was faster than the news of the commit.
            self._early.add(context.message_id)
