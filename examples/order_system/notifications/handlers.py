"""How notifications reacts and answers."""

from __future__ import annotations

from catga_core import EventHandler, RequestHandler
from catga_core.event_sourcing.projections import Projections
from catga_core.reliability import own_units_of_work

from ..calls import Caller
from ..orders.messages import Decision, ListDecisions, OrderAccepted, OrderRefused
from .domain import Mail, MailRoom
from .messages import CatchUp, Mailing, MailingReport
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


@own_units_of_work
class CatchUpHandler(RequestHandler[CatchUp, Mailing]):
    """Asks orders what was decided, because an event that is delivered at most once may have been lost."""

    PAGE = 500

    def __init__(self, mail_room: MailRoom, book: MailBook, projections: Projections, others: Caller) -> None:
        self._mail_room = mail_room
        self._book = book
        self._projections = projections
        self._others = others

    async def handle(self, message: CatchUp) -> Mailing:
        await self._projections.caught_up(MailBook.projection_name)
        skip = 0
        while decisions := await self._decisions(skip):
            for decision in decisions:
                if decision.order_id not in self._book.told:
                    await self._mail_room.send(decision.order_id, _mail(decision), caught_up=True)
            skip += len(decisions)
        return await _mailing(self._book, self._projections)

    async def _decisions(self, skip: int) -> tuple[Decision, ...]:
        asked = await self._others.ask(ListDecisions(skip, self.PAGE))
        return asked.unwrap()


class MailingReportHandler(RequestHandler[MailingReport, Mailing]):
    """Counts."""

    def __init__(self, book: MailBook, projections: Projections) -> None:
        self._book = book
        self._projections = projections

    async def handle(self, message: MailingReport) -> Mailing:
        return await _mailing(self._book, self._projections)


async def _mailing(book: MailBook, projections: Projections) -> Mailing:
    await projections.caught_up(MailBook.projection_name)
    return Mailing(len(book.told), book.caught_up)


def _mail(decision: Decision) -> Mail:
    if decision.reason is None:
        return _thanks(decision.order_id, decision.email)
    return _regrets(decision.order_id, decision.email, decision.reason)


def _thanks(order_id: str, email: str) -> Mail:
    return Mail(email, f"Thank you for order {order_id}: it is on its way.")


def _regrets(order_id: str, email: str, reason: str) -> Mail:
    return Mail(email, f"We are sorry: order {order_id} could not be carried out ({reason}).")
