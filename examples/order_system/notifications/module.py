"""What notifications puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module
from catga_core.event_sourcing import add_events
from catga_core.event_sourcing.projections import ProjectionMode, add_projection

from .domain import MailRoom
from .events import MailSent
from .handlers import MailingReportHandler, TellAccepted, TellRefused
from .read_models import MailBook


class NotificationsModule(Module):
    """Notifications: whoever decides orders is heard through events, wherever that is."""

    def register(self, catga: CatgaContainer) -> None:
        add_events(catga, MailSent)
        add_projection(catga, MailBook, mode=ProjectionMode.IN_MEMORY)
        catga.add_singleton(MailRoom)
        catga.add_handlers(TellAccepted, TellRefused, MailingReportHandler)
