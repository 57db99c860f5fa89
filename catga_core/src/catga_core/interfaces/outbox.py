"""The port of the outbox: messages stored with the data they report, and sent after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext


class ToEnqueue(msgspec.Struct, frozen=True):
    """How a command of the outbox is enqueued.

    Args:
        due_at: When it is due, seconds since the Unix epoch; `0.0` for at once.
        key: Commands of one key are handled in order; `None` for no order.
        priority: Which of the due commands is handled first.
    """

    due_at: float = 0.0
    key: str | None = None
    priority: Priority = Priority.NORMAL


# gc=False: they hold nothing that could refer back to them, and a relay makes a batch of them at once.
class OutboxMessage(msgspec.Struct, frozen=True, gc=False):
    """A message to send.

    Args:
        name: Its wire name.
        schema_version: The version of its shape.
        format: The serializer that made the bytes.
        data: The bytes.
        context: Its identity, the same on every try, and what it belongs to.
        key: Messages of one key are sent in order; `None` for no order.
        created_at: Seconds since the Unix epoch.
        fingerprint: Of its content, to be compared with `same_content`; empty for an unknown one.
        enqueue: How it is enqueued, for a command; `None` for an event, which is published.
    """

    name: str
    schema_version: int
    format: str
    data: bytes
    context: MessageContext
    key: str | None
    created_at: float
    fingerprint: str = ""
    enqueue: ToEnqueue | None = None


class LeasedMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that one relay has for a while.

    Args:
        sequence: Its place in the outbox, rising in the order of commits.
        message: What to send.
        attempts: How many tries failed before.
        fencing_token: Rises with every lease of this message.
        error: What the last try failed with, `None` for none.
    """

    sequence: int
    message: OutboxMessage
    attempts: int
    fencing_token: int
    error: str | None = None


class OutboxStats(msgspec.Struct, frozen=True):
    """How the outbox is doing.

    Args:
        pending: How many messages are yet to be sent.
        oldest_created_at: When the oldest of them was stored, seconds since the Unix epoch; `None` for none.
        retrying: How many of them have failed at least once.
    """

    pending: int
    oldest_created_at: float | None
    retrying: int


@port("outbox", kept=True, transactional=True, kit="catga_testing.contracts:OutboxContract")
@runtime_checkable
class OutboxStore(Protocol):
    """Keeps messages until they are sent. Several relays share the work by leases."""

    async def add(self, messages: Sequence[OutboxMessage], /) -> None:
        """Store messages at the end; joins the ambient unit of work.

        A message whose id is there already, until it is pruned, is not added again: it is the same message, repeated.

        Raises:
            MessageIdConflictError: When a known id has another fingerprint (`same_content`); nothing was added. Where
                writes are collected, the commit of the unit of work raises it.
        """
        ...

    async def lease(
        self,
        *,
        limit: int,
        lease: float,
        longest_delay: float | None = None,
        sent: Sequence[LeasedMessage] = (),
    ) -> list[LeasedMessage]:
        """Take messages that are due, oldest first.

        Messages of one key are leased in order: one is given only together with, or after, all of its key before it; so
        while one of a key is leased or waits for its next try, no later one of that key is given to anybody. A lease that
        has run out, at its very end, is taken over, and with it every lease on a later message of its key: its former
        owner must not send these before it. Until it is taken over, its owner may still renew or end it.

        Args:
            limit: How many at most.
            lease: Seconds they are the caller's.
            longest_delay: Seconds that a message waits for its next try at most. One that waits for longer was given back
                before the clock stepped back, and is due at once; `None` leaves it waiting.
            sent: Messages to complete before, as `complete` does; a store that writes both in one transaction spares a relay
                that is busy every second one. If it fails, they may have been completed.
        """
        ...

    async def renew(self, leased: Sequence[LeasedMessage], /, *, lease: float) -> list[LeasedMessage]:
        """Extend leases, counted from now; return those that are still the caller's."""
        ...

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        """Note that messages were sent. Those taken over by another are passed over: it will send them again.

        A power cut may undo it, and the messages are sent again.
        """
        ...

    async def retry(self, leased: LeasedMessage, /, *, delay: float, error: str) -> None:
        """Give a message back for a later try; passed over when it was taken over by another.

        The leases on later messages of its key end with it, for these must not be sent before it.

        Args:
            leased: The message; its attempts are one more from now on.
            delay: Seconds until it is due again.
            error: What it failed with.
        """
        ...

    async def release(self, leased: Sequence[LeasedMessage], /) -> None:
        """Give messages back untried, due at once: for a relay that stops.

        The leases on later messages of their keys end with them.
        """
        ...

    async def discard(self, leased: LeasedMessage, /) -> bool:
        """Take a message out for good, when it has gone to the dead letters; joins the ambient unit of work.

        Returns:
            Whether it was there, the caller's, and now is gone: `False` when it was taken over by another, or is gone already.
        """
        ...

    async def stats(self) -> OutboxStats:
        """Return how many messages wait, and since when."""
        ...

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sent messages, never pending ones; return how many.

        Args:
            older_than: Seconds; what was sent longer ago goes.
            limit: How many at most.
        """
        ...

    async def wait(self, *, timeout: float) -> None:
        """Return when there may be a message that is due, at the latest after so many seconds of real time.

        Commits of this process wake it at once; those of others where the storage can tell, else it only waits. Other
        tasks get a turn in any case.
        """
        ...
