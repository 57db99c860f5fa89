"""Who was told, worked out from the mails that went out."""

from __future__ import annotations

from catga_core.event_sourcing.projections import Projection, project

from .events import MailSent


class MailBook(Projection, name="mail-book"):
    """All mails, and the orders that they are about."""

    def __init__(self) -> None:
        self.mails = 0
        self.orders: set[str] = set()

    @project
    def sent(self, event: MailSent) -> None:
        self.mails += 1
        self.orders.add(event.order_id)
