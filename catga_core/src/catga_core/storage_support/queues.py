"""What the stores of queues share: the states of messages, and the marks of pages."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from catga_core.errors import LeaseLostError
from catga_core.interfaces.queue import QueueState

_AT_LEAST: Final = 20

PageMark: TypeAlias = tuple[int, float, int]
"""Where a message is in the order of `find`: 0 for those with a place and 1 for others; place or time; number of its row."""

FIRST_PAGE: Final[PageMark] = (-1, 0.0, 0)


def most_at_once(limit: int) -> int:
    """Return how many messages whose time has come one lease moves at most, so that it stays short after a pause.

    Args:
        limit: How many messages it gives at most.
    """
    return max(_AT_LEAST, 2 * limit)


def state_of(
    *, now: float, due_at: float, placed: bool, leased: bool, held: bool, attempts: int
) -> QueueState:
    """Return the state of a message that is not done.

    Args:
        now: Seconds since the Unix epoch.
        due_at: When it may be leased; while it is leased, when its lease ends.
        placed: Whether it has taken its place in the queue.
        leased: Whether a consumer has it, or had it until its lease ended.
        held: Whether its key is held.
        attempts: How many attempts were begun.
    """
    waits = due_at > now
    if leased and waits:
        return QueueState.LEASED
    if not placed and waits:
        return QueueState.SCHEDULED
    if held:
        return QueueState.HELD
    return QueueState.RETRYING if waits and attempts else QueueState.READY


def lost_message(queue: str, message_id: str) -> LeaseLostError:
    """Return the error of a unit of work that completes a message whose lease was lost.

    Args:
        queue: The queue.
        message_id: The message's identity.
    """
    return LeaseLostError(
        f"the message {message_id!r} of the queue {queue!r}", "another consumer has it, or it was ended"
    )


def mark_of(after: str | None) -> PageMark:
    """Return the mark that a page ended at.

    Args:
        after: Its `next`, `None` for the first page.

    Raises:
        ValueError: It is not one.
    """
    if after is None:
        return FIRST_PAGE
    try:
        return _decode(after)
    except (msgspec.DecodeError, UnicodeEncodeError):
        msg = f"after must be the `next` of a page of these queues; got {after!r}. Pass None for the first page."
        raise ValueError(msg) from None


def next_of(mark: PageMark) -> str:
    """Return the `next` of a page that ends at a mark."""
    return _encode(mark).decode()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PageMark).decode
