"""What can be asked of notifications."""

from __future__ import annotations

import msgspec

from catga_core import Query, message


class Mailing(msgspec.Struct, frozen=True):
    """The figures of all mail.

    Args:
        sent: Number of mails.
        orders: Number of orders that they are about.
        waiting: Number of events in the queues of notifications that are not handled.
    """

    sent: int
    orders: int
    waiting: int


@message(name="notifications.report", version=1)
class MailingReport(Query[Mailing], frozen=True):
    """The figures of all mail."""
