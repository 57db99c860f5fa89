"""`Attempt`: a received message that this process handles, for as long as it is this process's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from catga_core.errors import LeaseLostError
from catga_core.interfaces.durable_transport import Received
from catga_core.log import LEASE_LOST, logger

AttemptId: TypeAlias = tuple[str, str, int]
"""Queue, message id and number of the attempt: a process may have a message again that it has lost."""


class Attempt:
    """One attempt to handle a message.

    Args:
        received: The message.
        until: When its lease is over, by the container's monotonic clock, unless it is extended.
        strict: Whether the message is lost when its time is over and nobody answers whose it is: its effects are in nobody's
            transaction, and later messages of its key may be handled elsewhere by then.
        now: The container's monotonic clock.
    """

    # `handled`: what is left is to settle it. `returned`: the handler has returned, so that later commits are not its own.
    __slots__ = ("_lost", "_now", "handled", "received", "returned", "strict", "task", "until")

    def __init__(self, received: Received, *, until: float, strict: bool, now: Callable[[], float]) -> None:
        self._now = now
        self._lost = False
        self.received: Received = received
        self.until: float = until
        self.strict: bool = strict
        self.handled: bool = False
        self.returned: bool = False
        self.task: asyncio.Task[None] | None = None

    @property
    def holds(self) -> bool:
        """Whether no other process has the message, as far as is known here."""
        return not self._lost and self._now() < self.until and self.received.held

    def check(self) -> None:
        """Look whether the message is still this process's, which may have stood still since the lease was renewed.

        Raises:
            LeaseLostError: Another process may have the message, and may have handled later messages of its key.
        """
        if not self.holds:
            raise self.lost("its lease ran out, and another process may have it")

    def lost(self, reason: str) -> LeaseLostError:
        """Return the error for a message that may be another process's.

        Args:
            reason: Why, as a clause.
        """
        return LeaseLostError(f"the message {self.received.message.context.message_id!r}", reason)

    def lose(self) -> None:
        """Cancel the handler, because another process has the message; what is handled already is settled all the same."""
        if self.handled or self.task is None or self.task.done():
            return
        # Its end, if there is one, is refused by the transport, and by the commit fence what a handler commits that goes on all the same.
        self.handled = True
        self.report_lost()
        self.task.cancel()

    def report_lost(self) -> None:
        """Log, once, that the message may be another process's, and refuse what its handler commits from now on."""
        if self._lost:
            return
        self._lost = True
        received = self.received
        logger().warning(
            LEASE_LOST,
            thing=f"the message {received.message.context.message_id!r} of the queue {received.queue!r}",
            attempt=received.attempt,
        )


def attempt_id(received: Received) -> AttemptId:
    """Return what an attempt is known by.

    Args:
        received: Its message.
    """
    return received.queue, received.message.context.message_id, received.attempt
