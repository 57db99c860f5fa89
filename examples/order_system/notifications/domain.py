"""The mail that goes out."""

from __future__ import annotations

import msgspec

from catga_core.interfaces import NO_STREAM, EventStore

from .events import MailSent


class Mail(msgspec.Struct, frozen=True):
    """One message to one customer."""

    to: str
    text: str


class MailRoom:
    """Writes each customer once for each order, however often it is asked to.

    Each order has a stream here, and a mail begins it. Nothing begins a second time.

    Args:
        events: Where it is kept.
    """

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def send(self, order_id: str, mail: Mail, *, caught_up: bool = False) -> bool:
        """Send a mail, unless there was one for this order already; tell whether it was sent.

        Args:
            order_id: The order.
            mail: What to write, and to whom.
            caught_up: Whether it goes out without the event that should have been the reason.

        Raises:
            CatgaError: `CONFLICT` when another sends it at the same moment.
        """
        stream = f"mail-{order_id}"
        if await self._events.version(stream):
            return False
        sent = MailSent(order_id, mail.to, mail.text, caught_up)
        await self._events.append(stream, sent, expected_version=NO_STREAM)
        return True
