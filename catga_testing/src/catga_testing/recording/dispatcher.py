"""The dispatcher that an application under test is given: the real one, which counts what is relayed and replayed."""

from __future__ import annotations

from typing import Any

from catga_core.mediator import Dispatcher
from catga_core.messages import Event, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult
from catga_testing.recording.network import Network
from catga_testing.recording.stored import StoredEvents


class RecordingDispatcher(Dispatcher):
    """Passes everything on to a dispatcher, and counts it while it lasts.

    Args:
        inner: The application's dispatcher.
        network: Where to count.
        service: This application's name, for errors.
        stored: Counts what is in the outbox and not relayed, `None` where this application does not relay.
    """

    def __init__(
        self, inner: Dispatcher, network: Network, service: str, stored: StoredEvents | None
    ) -> None:
        # Not the base's: what it would set up is the inner one's.
        self._inner = inner
        self._network = network
        self._service = service
        self._stored = stored

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_inner"), name)

    async def hand_over(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        """Send a stored event, and count it until that is done."""
        with self._network.working(f"{self._service} relays {described.name} ({context.message_id})"):
            await self._inner.hand_over(described, event, context)
            if self._stored is not None:
                self._stored.handed_over(context)

    async def redeliver(
        self, described: MessageType, handler: str, event: Event, context: MessageContext, /
    ) -> CatgaResult[Any]:
        """Deliver an event to one handler, and count it until that is done."""
        with self._network.working(f"{self._service} replays {described.name} ({context.message_id})"):
            return await self._inner.redeliver(described, handler, event, context)


_OWN = frozenset({"_inner", "_network", "_service", "_stored", "hand_over", "redeliver"})
