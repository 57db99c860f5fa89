"""The port of the inbox: which handler has had which message."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from catga_core.interfaces.port import port


@port("inbox", kept=True, transactional=True, kit="catga_testing.contracts:InboxContract")
@runtime_checkable
class InboxStore(Protocol):
    """Remembers (message id, handler), so that a message that comes twice has its effect once."""

    async def record(self, message_id: str, handler: str, /, *, fingerprint: str = "") -> bool:
        """Note that a handler has had a message; joins the ambient unit of work.

        Two at once never both get `True` and commit: the second waits for the first, or its unit of work
        fails with `CONFLICT` at the commit.

        Args:
            message_id: The message's id.
            handler: The handler's name.
            fingerprint: Of the message's content; empty for an unknown one.

        Returns:
            `True` for the first time, `False` when it was noted before.

        Raises:
            MessageIdConflictError: When it was noted with another fingerprint (`same_content`): another message has the id.
        """
        ...

    async def seen(self, message_id: str, handler: str, /) -> bool:
        """Tell whether a handler has had a message."""
        ...

    async def forget(self, message_id: str, handler: str, /) -> None:
        """Take a note back: for a handler that failed outside of a unit of work."""
        ...

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove notes, at most `limit`; return how many.

        Args:
            older_than: Seconds; what was noted longer ago goes.
            limit: How many at most.
        """
        ...
