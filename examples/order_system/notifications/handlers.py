"""How notifications reacts and answers."""

from __future__ import annotations

from catga_core import EventHandler, RequestHandler
from catga_core.event_sourcing.projections import Projections
from catga_core.interfaces import DurableTransport

from ..orders.messages import OrderAccepted, OrderRefused
from .domain import Mail, MailRoom
from .messages import Mailing, MailingReport
from .read_models import MailBook


class TellAccepted(EventHandler[OrderAccepted]):
    """Thanks the customer."""

    def __init__(self, mail_room: MailRoom) -> None:
        self._mail_room = mail_room

    async def handle(self, message: OrderAccepted) -> None:
        await self._mail_room.send(message.order_id, _thanks(message.order_id, message.email))


class TellRefused(EventHandler[OrderRefused]):
    """Apologises to the customer."""

    def __init__(self, mail_room: MailRoom) -> None:
        self._mail_room = mail_room

    async def handle(self, message: OrderRefused) -> None:
        await self._mail_room.send(
            message.order_id, _regrets(message.order_id, message.email, message.reason)
        )


class MailingReportHandler(RequestHandler[MailingReport, Mailing]):
    """Counts."""

    def __init__(self, book: MailBook, projections: Projections, queues: DurableTransport) -> None:
        self._book = book
        self._projections = projections
        self._queues = queues

    async def handle(self, message: MailingReport) -> Mailing:
        queues = await self._queues.stats()
        await self._projections.caught_up(MailBook.projection_name)
        waiting = sum(queue.ready for queue in queues.values())
        return Mailing(self._book.mails, len(self._book.orders), waiting)


def _thanks(order_id: str, email: str) -> Mail:
    return Mail(email, f"Thank you for order {order_id}: it is on its way.")


def _regrets(order_id: str, email: str, reason: str) -> Mail:
    return Mail(email, f"We are sorry: order {order_id} could not be carried out ({reason}).")
