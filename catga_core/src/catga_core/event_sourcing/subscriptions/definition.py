"""`SubscriptionDefinition`: a subscription's name, events, start, delivery and partitions."""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Any

import msgspec

from catga_core.event_sourcing.consumers import ConsumerOptions, OnLogLoss
from catga_core.messages import Event
from catga_core.messages.delivery import Delivery
from catga_core.option_checks import MOST_COUNT, shown_number


class Start(StrEnum):
    """Where a subscription without a checkpoint starts; a position may be given instead."""

    BEGINNING = "beginning"
    """At the first event of the log."""
    NOW = "now"
    """At the first event that is appended after its first start."""


class SubscriptionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription.

    Args:
        name: Its name.
        events: The event classes it handles; `Event` for all.
        stream: A glob on the stream's name, `*` for all.
        start: Where it starts if it has no checkpoint.
        delivery: How often an event takes effect.
        partitions: How many partitions the streams are divided into; each has its own lease.
        options: The consumer's options.
    """

    name: str
    events: tuple[type[Event], ...]
    stream: str
    start: Start | int
    delivery: Delivery
    partitions: int
    options: ConsumerOptions

    @property
    def stem(self) -> str:
        """The beginning of the names of all its checkpoints and locks."""
        return f"subscription:{self.name}"

    def key(self, partition: int) -> str:
        """Return the name of a partition's checkpoint and lock."""
        if self.partitions == 1:
            return self.stem
        return f"{self.stem}:{partition + 1}/{self.partitions}"


def partition_of(stream_id: str, partitions: int) -> int:
    """Return the partition of a stream, the same one in every process.

    Args:
        stream_id: The stream's name.
        partitions: How many there are.
    """
    return zlib.crc32(stream_id.encode()) % partitions


def problems_of(definition: SubscriptionDefinition, named: str) -> list[str]:
    """Return a text for each argument that is not possible.

    Args:
        definition: The subscription.
        named: The subscription, for the texts.
    """
    problems: list[str] = []
    partitions: Any = definition.partitions
    if type(partitions) is not int or not 1 <= partitions <= 1_000:
        problems.append(
            f"{named} has partitions={shown_number(partitions)}: give a whole number from 1 to 1000"
        )
    start: Any = definition.start
    if not isinstance(start, Start) and (type(start) is not int or not 0 <= start <= MOST_COUNT):
        problems.append(
            f"{named} has start={shown_number(start)}: give Start.BEGINNING, Start.NOW, or a position from 0"
        )
    if definition.options.on_log_loss is OnLogLoss.REBUILD:
        problems.append(
            f"{named} has on_log_loss=OnLogLoss.REBUILD, which is for projections. Use OnLogLoss.STOP or OnLogLoss.CONTINUE."
        )
    delivery: Any = definition.delivery
    if not isinstance(delivery, Delivery) or delivery is Delivery.AT_MOST_ONCE:
        problems.append(
            f"{named} has delivery={delivery!r}: give Delivery.AT_LEAST_ONCE or Delivery.EXACTLY_ONCE"
        )
    return problems
