"""The port of dead letters: messages that could not be handled, kept with all that is known of why."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port
from catga_core.messages.message_context import MessageContext
from catga_core.option_checks import MOST_SECONDS, check_seconds


class DeadLetterSource(StrEnum):
    """Where a message was when it was given up."""

    HANDLER = "handler"
    """An event handler failed."""
    OUTBOX = "outbox"
    """The relay could not send it."""
    PROJECTION = "projection"
    """A projection or subscription failed for a stored event."""
    TRANSPORT = "transport"
    """It arrived and could not be decoded."""
    QUEUE = "queue"
    """Its handler failed in every attempt that the queue allows."""
    SAGA = "saga"
    """A compensation of the saga failed; its data is the message."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that could not be handled.

    Args:
        id: The letter's identity: the same for the same message and handler.
        source: Where it was given up.
        handler: The handler (or projection) it was for; empty where there is none.
        name: Its wire name.
        schema_version: The version of its shape.
        format: The serializer that made the bytes.
        data: Its bytes.
        context: Its identity, correlation and headers.
        code: The error's code.
        message: The error's text.
        traceback: Where it was raised, `None` where nothing was.
        attempts: How often it was tried.
        first_failed_at: Seconds since the Unix epoch.
        last_failed_at: Seconds since the Unix epoch.
        replays: How often it was replayed.
        queue: The queue that the message was in; empty where there was none.
        key: The key of its order: of a message of a queue its key there, of an event its `@ordered_by` key, of a parked event its
            stream; `None` for none.
    """

    id: str
    source: DeadLetterSource
    handler: str
    name: str
    schema_version: int
    format: str
    data: bytes
    context: MessageContext
    code: str
    message: str
    traceback: str | None
    attempts: int
    first_failed_at: float
    last_failed_at: float
    replays: int = 0
    queue: str = ""
    key: str | None = None


class DeadLetterFilter(msgspec.Struct, frozen=True):
    """Which letters are meant; what is left out does not matter.

    Args:
        source: Where they were given up.
        handler: The handler they were for.
        name: Their wire name.
        code: Their error's code.
        failed_after: Seconds since the Unix epoch; those that last failed later.
        failed_before: Seconds since the Unix epoch; those that last failed earlier.
        queue: The queue that their messages were in.
        key: The key of their messages' order.
        message_id: The id of their messages.

    Raises:
        ValueError: A time is not a finite number >= 0.
    """

    source: DeadLetterSource | None = None
    handler: str | None = None
    name: str | None = None
    code: str | None = None
    failed_after: float | None = None
    failed_before: float | None = None
    queue: str | None = None
    key: str | None = None
    message_id: str | None = None

    def __post_init__(self) -> None:
        """Check the times."""
        check_seconds("failed_after", self.failed_after, least=0, most=MOST_SECONDS, optional=True)
        check_seconds("failed_before", self.failed_before, least=0, most=MOST_SECONDS, optional=True)


ALL_LETTERS: DeadLetterFilter = DeadLetterFilter()


class DeadLetterPage(msgspec.Struct, frozen=True):
    """Some letters, in the order in which they first came.

    Args:
        letters: Those of this page.
        next: Ask for the next page with it; `None` for the last page.
    """

    letters: Sequence[DeadLetter]
    next: str | None


@port("dead_letters", kept=True, kit="catga_testing.contracts:DeadLetterContract")
@runtime_checkable
class DeadLetterStore(Protocol):
    """Keeps dead letters until somebody replays or purges them."""

    async def add(self, letter: DeadLetter, /) -> None:
        """Keep a letter; joins the ambient unit of work.

        One with the same id is replaced: its attempts are added up, its first failure and its replays stay.
        """
        ...

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a letter, `None` where there is none."""
        ...

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """Return the letters a filter means, a page at a time, in the order in which they first came.

        Args:
            filter: Which ones.
            after: The `next` of the page before, `None` for the first page.
            limit: How many at most, 1 or more.
        """
        ...

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return how many letters a filter means."""
        ...

    async def replaying(self, letter_id: str, /) -> DeadLetter | None:
        """Note that a letter is being replayed: its `replays` is one more; return it, `None` where there is none."""
        ...

    async def remove(self, letter_id: str, /) -> bool:
        """Remove a letter; tell whether there was one. Joins the ambient unit of work."""
        ...

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Remove every letter a filter means; return how many."""
        ...
