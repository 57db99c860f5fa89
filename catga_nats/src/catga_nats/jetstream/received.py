"""A message that a consumer has delivered to this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from catga_core.interfaces.durable_transport import KeyFence
from catga_core.interfaces.queue import QueuedMessage

if TYPE_CHECKING:
    from catga_nats.jetstream.group import Group
    from catga_nats.jetstream.source import Source

_SHORT = 9  # words of an acknowledgement's subject; with domain and account there are at least two more
_FIRST = {False: 2, True: 4}


class Delivery(msgspec.Struct, frozen=True):
    """The delivery, as the subject of its acknowledgement describes it.

    Args:
        count: How often the message was delivered, this time included.
        sequence: Its place in the stream.
        number: The number of the delivery, counted by the consumer over all messages.
        pending: How many more messages wait for its consumer.
    """

    count: int
    sequence: int
    number: int
    pending: int


def delivery_in(reply: bytes) -> Delivery:
    """Read the subject of an acknowledgement.

    Raises:
        ValueError: It is none.
    """
    words = reply.split(b".")
    first = _FIRST[len(words) > _SHORT]
    if len(words) < _SHORT:
        raise ValueError(reply[:80])
    return Delivery(
        int(words[first + 2]), int(words[first + 3]), int(words[first + 4]), int(words[first + 6])
    )


class JetMessage:
    """A message of a queue in this process, until it is settled.

    Args:
        source: The consumer that delivered it.
        message: The message.
        delivery: Which delivery it is.
        reply: Where it is settled.

    Attributes:
        expires_at: The loop's time until which no other process gets it.
        given: Whether the application has it.
        confirming: Whether the server may have settled it already, and has not confirmed it yet.
        gone: Whether it was given back or settled, so that a further delivery is another attempt.
        group: The keys that it belongs to, `None` for one without a key.
        unsettled: Whether the application failed to settle it, and has done with it.
        attempt: The number of this attempt.
    """

    __slots__ = (
        "attempt",
        "confirming",
        "count",
        "expires_at",
        "given",
        "gone",
        "group",
        "message",
        "reply",
        "sequence",
        "source",
        "unsettled",
    )

    def __init__(self, source: Source, message: QueuedMessage, delivery: Delivery, reply: bytes) -> None:
        self.source: Source = source
        self.message: QueuedMessage = message
        self.sequence: int = delivery.sequence
        self.count: int = delivery.count
        self.attempt: int = delivery.count
        self.reply: bytes = reply
        self.expires_at: float = 0.0
        self.given: bool = False
        self.confirming: bool = False
        self.gone: bool = False
        self.group: Group | None = None
        self.unsettled: bool = False

    @property
    def queue(self) -> str:
        """The queue."""
        return self.source.queue

    @property
    def is_abandoned(self) -> bool:
        """Whether its lease is not renewed any more."""
        return self.unsettled or asyncio.get_running_loop().time() > self.expires_at

    @property
    def held(self) -> bool:
        """Whether its lease and its group are valid by this process's clock."""
        now = asyncio.get_running_loop().time()
        return not self.gone and now <= self.expires_at and (self.group is None or self.group.is_owned(now))

    @property
    def fence(self) -> KeyFence | None:
        """What its effects are committed with: that of its group; `None` without a key."""
        return None if self.group is None else self.group.fence

    @property
    def error(self) -> str | None:
        """Nothing: the server does not know it."""
        return None
