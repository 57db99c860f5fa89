"""The port of the queue store: messages kept for their handlers until each has handled them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port
from catga_core.messages.delivery import Priority
from catga_core.messages.message_context import MessageContext


# gc=False: they hold nothing that could refer back to them, and there are two for each message.
class QueuedMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that is kept until it is handled.

    Args:
        name: Its wire name.
        schema_version: The version of its shape.
        format: The serializer that made the bytes.
        data: The bytes.
        context: Its identity, the same in every attempt, and what it belongs to.
        due_at: The time of its first attempt, seconds since the Unix epoch; `0.0` for at once.
        created_at: Seconds since the Unix epoch.
        key: Messages of one key are handled one after the other, in their order; `None` for no order.
        priority: Which of the due messages is handled first. Messages of one key keep their order whatever it is.
        fingerprint: Of its content, to be compared with `same_content`; empty where it is unknown.
    """

    name: str
    schema_version: int
    format: str
    data: bytes
    context: MessageContext
    due_at: float
    created_at: float
    key: str | None = None
    priority: Priority = Priority.NORMAL
    fingerprint: str = ""


class QueueLease(msgspec.Struct, frozen=True, gc=False):
    """A message of a queue that one consumer has for a while.

    Args:
        queue: The queue.
        sequence: Its place in the store, rising in the order in which messages became due.
        message: The message.
        attempt: The number of this attempt, from 1. An attempt that ended with its process counts.
        fencing_token: Rises with every lease of this message.
        error: What the last failed attempt failed with, `None` for none.
    """

    queue: str
    sequence: int
    message: QueuedMessage
    attempt: int
    fencing_token: int
    error: str | None = None


class QueueState(StrEnum):
    """What a message of a queue waits for."""

    SCHEDULED = "scheduled"
    """The time of its first attempt."""
    READY = "ready"
    """A consumer."""
    LEASED = "leased"
    """The end of the attempt that runs."""
    RETRYING = "retrying"
    """The time of its next attempt."""
    HELD = "held"
    """The release of its key: an earlier message of the key is in the dead letters."""
    DONE = "done"
    """Nothing: it was handled. It is known until it is pruned, so that a repetition is not added."""


class QueueEntry(msgspec.Struct, frozen=True):
    """One message of a queue, for operators.

    Args:
        queue: The queue.
        message: The message; without its bytes once it is done.
        state: What it waits for.
        attempts: How many attempts were begun.
        error: What the last failed attempt failed with, `None` for none.
        due_at: The time of the next attempt, seconds since the Unix epoch; of the end of its lease where it is leased, of its end
            where it is done.
        result: What its handler ended with, as it was given to `complete`; `None` where none was kept.
    """

    queue: str
    message: QueuedMessage
    state: QueueState
    attempts: int
    error: str | None
    due_at: float
    result: bytes | None = None


class QueueFilter(msgspec.Struct, frozen=True):
    """Which messages are meant; a field that is `None` does not matter.

    Args:
        queue: Their queue.
        name: Their wire name.
        key: Their key.
    """

    queue: str | None = None
    name: str | None = None
    key: str | None = None


ALL_QUEUED: QueueFilter = QueueFilter()


class QueuePage(msgspec.Struct, frozen=True):
    """Some messages: first those that are ready, in their order, then those that are scheduled, by their time.

    Args:
        entries: Those of this page.
        next: Pass it as `after` for the next page; `None` for the last page.
    """

    entries: Sequence[QueueEntry]
    next: str | None


class QueueStats(msgspec.Struct, frozen=True):
    """The state of one queue.

    Args:
        ready: How many messages have become due, whatever they wait for since: leased, retrying and held ones included.
        scheduled: How many messages are not due yet for the first time.
        leased: How many messages consumers have.
        retrying: How many messages wait for another attempt; 0 where the transport does not know.
        held_keys: How many keys are held.
        oldest_at: When the oldest message that is not done became due, seconds since the Unix epoch; `None` for none. Where
            the transport does not know which messages wait for another attempt, when the first of them was stored.
    """

    ready: int
    scheduled: int
    leased: int
    retrying: int
    held_keys: int
    oldest_at: float | None


@port("queue", kept=True, transactional=True, kit="catga_testing.contracts:QueueContract")
@runtime_checkable
class QueueStore(Protocol):
    """Keeps messages in queues until they are handled. Consumers share the work by leases.

    A message that is added for a later time is *scheduled*. When its time has come it takes its place at the end of its queue.
    Where very many have become due since the last lease, a lease may give places to the first of them only, at least to twice as
    many as it is asked for.
    Messages of one queue and key keep the order of their places; those of different queues do not know of each other.
    """

    async def add(self, message: QueuedMessage, /, *, queues: Sequence[str]) -> None:
        """Add a message to the end of some queues, to all or to none; joins the ambient unit of work.

        A queue that has a message of that id, until it is pruned, gets none: it is the same message, repeated.

        Args:
            message: The message. It is scheduled where its `due_at` is later than now.
            queues: The queues, each once.

        Raises:
            MessageIdConflictError: A known id has another fingerprint (`same_content`); nothing was added. Where writes are
                collected, the commit of the unit of work raises it.
        """
        ...

    async def lease(
        self, demands: Mapping[str, int], /, *, lease: float, longest_delay: float | None = None
    ) -> list[QueueLease]:
        """Take messages that are due: of each queue by priority, then in their order.

        Of one key only the first message is given: while it is leased or waits for its next attempt, no later one of its key
        is, whatever its priority. Messages of a held key are not given. A lease that has run out is taken over.

        Args:
            demands: How many messages at most, by queue.
            lease: Seconds they are the caller's.
            longest_delay: Seconds that a message waits for its next attempt at most. One that waits for longer was given back
                before the clock stepped back: this call ends its wait, and it is due from then on. `None` leaves it waiting.
                Scheduled messages wait for their own time.

        Returns:
            The messages. Each lease counts as an attempt.
        """
        ...

    async def renew(self, leased: Sequence[QueueLease], /, *, lease: float) -> list[QueueLease]:
        """Extend leases, counted from now; return those that are still the caller's."""
        ...

    async def complete(self, leased: Sequence[QueueLease], /, *, result: bytes | None = None) -> None:
        """Record that messages were handled; joins the ambient unit of work.

        Outside of a unit of work, messages that were taken over by another consumer are left to it. In one, such a message fails
        the unit of work: what a former owner has written is not committed.

        Args:
            leased: The messages.
            result: Kept with each until it is pruned; `None` for none.

        Raises:
            LeaseLostError: In a unit of work, a message was taken over by another consumer. Where writes are collected, the
                commit raises it.
        """
        ...

    async def require(self, leased: QueueLease, /) -> None:
        """Require that a message is the caller's until the ambient unit of work is committed; outside of one, at this moment.

        An expired lease counts until another consumer takes over the message.

        Raises:
            LeaseLostError: The message was given back, taken over by another consumer, or ended. Where writes are collected, the
                commit raises it.
        """
        ...

    async def retry(self, leased: QueueLease, /, *, delay: float, error: str) -> None:
        """Give a message back for another attempt; does nothing where it was taken over by another consumer.

        Args:
            leased: The message.
            delay: Seconds until it is due again.
            error: What the attempt failed with.
        """
        ...

    async def release(self, leased: Sequence[QueueLease], /) -> None:
        """Give messages back without an attempt: they are due at once, and this lease does not count as an attempt."""
        ...

    async def discard(self, leased: QueueLease, /, *, hold_key: bool = False) -> bool:
        """Remove a message that goes to the dead letters; joins the ambient unit of work.

        Its id may be added again.

        Args:
            leased: The message.
            hold_key: Whether to hold its key: later messages of the key in this queue are not given until `release_key`.

        Returns:
            Whether it was removed: `False` when it was taken over by another consumer, or is gone already.
        """
        ...

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Give the messages of a held key again; joins the ambient unit of work.

        Returns:
            Whether the key was held.
        """
        ...

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; joins the ambient unit of work. Its id may be added again.

        Returns:
            Whether it was removed: `False` where it is leased, done, or not there.
        """
        ...

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message, done or not; `None` where there is none."""
        ...

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time.

        Args:
            filter: Which ones.
            after: The `next` of the previous page, `None` for the first page.
            limit: How many at most, 1 or more.
        """
        ...

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue that has a message that is not done, or a held key."""
        ...

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove messages that are done, never others; return how many.

        Args:
            older_than: Seconds; those that were done longer ago are removed.
            limit: How many at most.
        """
        ...

    async def wait(self, queues: Sequence[str], /, *, timeout: float) -> None:
        """Return when there may be a message that is due in one of the queues, at the latest after a number of real seconds.

        Commits of this process wake it at once, and so does the time of a scheduled message or of a retry; commits of other
        processes where the storage can tell. Other tasks get a turn in any case.
        """
        ...
