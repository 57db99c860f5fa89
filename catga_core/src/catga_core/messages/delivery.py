"""`Delivery` and `Priority`: how often a message takes effect, and which one comes first."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Delivery(StrEnum):
    """How often a message takes effect, as `@message(delivery=...)` and consumers declare it."""

    AT_MOST_ONCE = "at_most_once"
    """A message may be lost, and is never handled twice."""
    AT_LEAST_ONCE = "at_least_once"
    """An acknowledged message is not lost. It is redelivered after a failure or a crash, so its handler may run twice."""
    EXACTLY_ONCE = "exactly_once"
    """As `AT_LEAST_ONCE`, and redeliveries are filtered in the transaction of the handler's effects."""


class Priority(IntEnum):
    """Which of the messages that are due are handled first; the order of one key comes before it."""

    HIGH = 0
    NORMAL = 1
    LOW = 2
