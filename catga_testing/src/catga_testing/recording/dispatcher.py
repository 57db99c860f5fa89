"""The dispatcher that an application under test is given: the real one, which counts what is relayed and replayed."""

from __future__ import annotations

from typing import Any

from catga_core.errors import CatgaError
from catga_core.interfaces.outbox import OutboxMessage
from catga_core.mediator import Dispatcher
from catga_core.messages import Event, Message, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult
from catga_testing.recording.network import Network
from catga_testing.recording.records import Journal, Outcome, Published
from catga_testing.recording.stored import StoredEvents


class RecordingDispatcher(Dispatcher):
    """Passes everything on to a dispatcher, and counts it while it lasts.

    Args:
        inner: The application's dispatcher.
        journal: Where events of an event publisher are written; those of the outbox were when they were published.
        network: Where to count.
        service: This application's name, for errors.
        stored: Follows what is in the outbox.
    """

    def __init__(
        self, inner: Dispatcher, journal: Journal, network: Network, service: str, stored: StoredEvents
    ) -> None:
        # Not the base's: what it would set up is the inner one's.
        self._inner = inner
        self._journal = journal
        self._network = network
        self._service = service
        self._stored = stored

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_inner"), name)

    async def hand_over(
        self,
        described: MessageType,
        event: Event,
        context: MessageContext,
        stored: OutboxMessage | None = None,
        /,
    ) -> None:
        """Send a stored event, and count it until that is done."""
        with self._network.working(f"{self._service} relays {described.name} ({context.message_id})"):
            published = self._published(event, context)
            try:
                await self._inner.hand_over(described, event, context, stored)
            except CatgaError as error:
                if published is not None:
                    published.error, published.outcome = error, Outcome.FAILED
                raise
            if published is not None:
                # It may have failed before.
                published.error, published.outcome = None, Outcome.SUCCEEDED
            self._stored.handed_over(context)

    def _published(self, event: Event, context: MessageContext) -> Published[Any] | None:
        """Return the record of an event that this application's event publisher publishes, `None` for one of its outbox."""
        journal, message_id = self._journal, context.message_id
        record = journal.handed_over.get(message_id)
        if record is not None:
            return record
        published = (each.context.message_id for each in journal.messages if isinstance(each, Published))
        if message_id in published:
            return None
        record = journal.handed_over[message_id] = Published(event, context, nested=False)
        journal.messages.append(record)
        return record

    async def redeliver(
        self, described: MessageType, handler: str, message: Message, context: MessageContext, /
    ) -> CatgaResult[Any]:
        """Deliver a message to one handler, and count it until that is done."""
        with self._network.working(f"{self._service} replays {described.name} ({context.message_id})"):
            return await self._inner.redeliver(described, handler, message, context)


_OWN = frozenset(
    {"_inner", "_journal", "_network", "_published", "_service", "_stored", "hand_over", "redeliver"}
)
