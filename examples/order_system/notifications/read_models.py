"""Who was told, worked out from the mails that went out."""

from __future__ import annotations

from catga_core.event_sourcing.projections import Projection, project

from .events import MailSent


class MailBook(Projection, name="mail-book"):
    """Every order whose customer was told."""

    def __init__(self) -> None:
        self.told: set[str] = set()
        self.caught_up = 0

    @project
    def sent(self, event: MailSent) -> None:
        self.told.add(event.order_id)
        self.caught_up += event.caught_up
