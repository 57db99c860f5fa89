"""What can be asked of notifications."""

from __future__ import annotations

import msgspec

from catga_core import Command, Query, message


class Mailing(msgspec.Struct, frozen=True):
    """How many customers were told, and for how many of them the event was not here when it was asked for."""

    sent: int
    caught_up: int


@message(name="notifications.catch-up", version=1)
class CatchUp(Command[Mailing], frozen=True):
    """Tell every customer who should have been told by now and was not."""


@message(name="notifications.report", version=1)
class MailingReport(Query[Mailing], frozen=True):
    """How many customers were told."""
