"""What a subscription is: its name, its events, where it begins, who shares its work."""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Any

import msgspec

from catga_core.event_sourcing.consumers import FollowOptions
from catga_core.messages import Event


class Start(StrEnum):
    """Where a follower begins that has no checkpoint yet; a position may be given in its place."""

    BEGINNING = "beginning"
    """With the first event of the log."""
    NOW = "now"
    """With the first event after the moment in which it is first started."""


class Delivery(StrEnum):
    """How often an event takes effect."""

    AT_LEAST_ONCE = "at least once"
    """The handler runs outside of any unit of work, and the checkpoint is saved after it: for effects elsewhere."""
    EXACTLY_ONCE = "exactly once"
    """Effects and checkpoint are in one unit of work of the container's storage: effects in that storage happen once."""


class SubscriptionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription, as it was added.

    Parameters:
        name: its name.
        events: the classes it is given; `Event` for all.
        stream: a glob on the stream's name, `*` for all.
        start: where it begins, where it has no checkpoint.
        delivery: how often an event takes effect.
        partitions: into how many parts the streams are divided; each is leased on its own.
        options: how it goes through the log.
    """

    name: str
    events: tuple[type[Event], ...]
    stream: str
    start: Start | int
    delivery: Delivery
    partitions: int
    options: FollowOptions

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
    """Return which partition a stream is in: the same one in every process.

    Parameters:
        stream_id: the stream's name.
        partitions: how many there are.
    """
    return zlib.crc32(stream_id.encode()) % partitions


def problems_of(definition: SubscriptionDefinition, named: str) -> list[str]:
    """Return what cannot work.

    Parameters:
        definition: what was asked for.
        named: whose it is, for the text.
    """
    problems: list[str] = []
    partitions: Any = definition.partitions
    if type(partitions) is not int or not 1 <= partitions <= 1_000:
        problems.append(f"{named} has partitions={partitions!r}: give a whole number from 1 to 1000")
    start: Any = definition.start
    if not isinstance(start, Start) and (type(start) is not int or start < 0):
        problems.append(f"{named} has start={start!r}: give Start.BEGINNING, Start.NOW, or a position from 0")
    delivery: Any = definition.delivery
    if not isinstance(delivery, Delivery):
        problems.append(
            f"{named} has delivery={delivery!r}: give Delivery.AT_LEAST_ONCE or Delivery.EXACTLY_ONCE"
        )
    return problems
