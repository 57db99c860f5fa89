"""What notifications puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module

from ..calls import Caller
from .domain import MailRoom
from .handlers import CatchUpHandler, MailingReportHandler, TellAccepted, TellRefused


class NotificationsModule(Module):
    """Notifications: whoever decides orders is heard through events, wherever that is."""

    needs = (Caller,)

    def register(self, catga: CatgaContainer) -> None:
        catga.add_singleton(MailRoom)
        catga.add_handlers(TellAccepted, TellRefused, CatchUpHandler, MailingReportHandler)
