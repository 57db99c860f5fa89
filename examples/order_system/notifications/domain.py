"""The mail that goes out."""

from __future__ import annotations

import msgspec


class Mail(msgspec.Struct, frozen=True):
    """One message to one customer."""

    to: str
    text: str


class MailRoom:
    """Writes each customer once for each order, however often it is asked to."""

    def __init__(self) -> None:
        self._sent: dict[str, Mail] = {}
        self.caught_up = 0

    @property
    def sent(self) -> int:
        """How many mails went out."""
        return len(self._sent)

    def send(self, order_id: str, mail: Mail) -> bool:
        """Send a mail, unless there was one for this order already; tell whether it was sent."""
        if order_id in self._sent:
            return False
        self._sent[order_id] = mail
        return True
