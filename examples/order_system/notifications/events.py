"""What notifications remembers."""

from __future__ import annotations

from catga_core import Event, message


@message(name="notifications.mail-sent", version=1)
class MailSent(Event, frozen=True):
    """A customer was told what became of an order.

    Parameters:
        order_id: the order.
        to: the customer's address.
        text: what was written.
        caught_up: whether it was sent without the event that should have been the reason.
    """

    order_id: str
    to: str
    text: str
    caught_up: bool
