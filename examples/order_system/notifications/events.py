"""What notifications remembers."""

from __future__ import annotations

from catga_core import Event, message


@message(name="notifications.mail-sent", version=1)
class MailSent(Event, frozen=True):
    """A customer was told what became of an order.

    Args:
        order_id: The order.
        to: The customer's address.
        text: What was written.
    """

    order_id: str
    to: str
    text: str
