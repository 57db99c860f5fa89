"""The mail that goes out."""

from __future__ import annotations

import msgspec

from catga_core.interfaces import EventStore

from .events import MailSent


class Mail(msgspec.Struct, frozen=True):
    """One message to one customer."""

    to: str
    text: str


class MailRoom:
    """Sends mail. It sends a second one for the same order, too, if it is asked to.

    Args:
        events: The event store.
    """

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def send(self, order_id: str, mail: Mail) -> None:
        """Send a mail about an order."""
        await self._events.append(f"mail-{order_id}", MailSent(order_id, mail.to, mail.text))
