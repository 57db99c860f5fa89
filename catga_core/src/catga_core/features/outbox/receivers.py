"""Where relayed events go that have no transport: to the handlers of this process, and never to none by mistake."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from catga_core.clock import Clock
from catga_core.errors import HandlerNotFoundError
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.outbox import OutboxMessage
from catga_core.log import OUTBOX_EVENT_UNHANDLED, logger
from catga_core.mediator import Dispatcher
from catga_core.messages import Event, MessageType, message_type
from catga_core.messages.message_context import MessageContext

NOTE_SECONDS: Final = 3_600.0
"""Seconds between two notes of the events that this process handles."""
_NOTED_SECONDS: Final = 24 * 3_600
_PREFIX: Final = "catga-outbox-handled:"
_ALL: Final = "*"


class Receivers:
    """Hands relayed events over, and leaves those in the outbox that only another process handles.

    It matters without an event transport, in a storage that other processes may use. Each process that relays notes in
    the storage which events it handles or, with a transport, that it sends all. An event without a handler here that was noted within a day waits for such a process;
    any other has no handler anywhere, which is logged once for each event type.

    Args:
        dispatcher: Sends events.
        values: Returns the store of the notes.
        clock: The container's clock.
        shared: Returns whether other processes may relay this outbox.

    Attributes:
        unhandled: How many events were handed over without any handler.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        values: Callable[[], NamedValueStore],
        clock: Clock,
        shared: Callable[[], bool],
    ) -> None:
        self._dispatcher = dispatcher
        self._values = values
        self._clock = clock
        self._shared = shared
        self._warned: set[type[Any]] = set()
        self.unhandled: int = 0

    async def exist(self) -> bool:
        """Return whether this process can deliver anything: over a transport, to handlers, or from an outbox of its own."""
        if not self._shared() or await self._dispatcher.reaches(Event):
            return True
        return bool(self._dispatcher.handled_events())

    async def note(self) -> None:
        """Note in the storage which events this process handles, all of them with a transport, where others may ask.

        Raises:
            CatgaError: The storage cannot be reached.
        """
        dispatcher = self._dispatcher
        if not self._shared():
            return
        names = {message_type(cls).name for cls in dispatcher.handled_events()}
        if await dispatcher.reaches(Event):
            names = {_ALL}
        values, now = self._values(), int(self._clock.time())
        for name in sorted(names):
            await values.set(_PREFIX + name, now)

    def hand_over(
        self, described: MessageType, event: Event, context: MessageContext, stored: OutboxMessage, /
    ) -> Coroutine[Any, Any, None]:
        """Send an event over the transport, or to this process's handlers where there is none.

        Args:
            described: The event's type.
            event: The event.
            context: As it was published with.
            stored: The event as the outbox has it.

        Raises:
            HandlerNotFoundError: Only another process handles it; `retryable` is true.
            CatgaError: It could not be sent, or a handler failed for it and nothing has kept it.
        """
        if self._dispatcher.carries_events:
            return self._dispatcher.hand_over(described, event, context, stored)
        return self._hand_over(described, event, context, stored)

    async def _hand_over(
        self, described: MessageType, event: Event, context: MessageContext, stored: OutboxMessage
    ) -> None:
        dispatcher = self._dispatcher
        if not await dispatcher.reaches(described.cls):
            if self._shared() and await self._handled_elsewhere(described.name):
                raise HandlerNotFoundError(
                    f"{described.name} has no handler in this process, and another process that uses this outbox has one. "
                    "It waits for that process. Where processes handle different events, configure a transport, or "
                    "set enable_outbox_relay=False here.",
                    retryable=True,
                )
            self._without_handlers(described)
        await dispatcher.hand_over(described, event, context, stored)

    async def _handled_elsewhere(self, name: str) -> bool:
        values, oldest = self._values(), self._clock.time() - _NOTED_SECONDS
        for each in (name, _ALL):
            noted = await values.get(_PREFIX + each)
            if noted is not None and noted > oldest:
                return True
        return False

    def _without_handlers(self, described: MessageType) -> None:
        self.unhandled += 1
        if self._shared() and described.cls not in self._warned:
            self._warned.add(described.cls)
            logger().warning(
                OUTBOX_EVENT_UNHANDLED,
                event_type=described.name,
                hint="No process without a transport that relays this outbox handles it. Events of this type go to no handler.",
            )
