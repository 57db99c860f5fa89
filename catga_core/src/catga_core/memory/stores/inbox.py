"""The inbox in memory: when which handler has had which message."""

from __future__ import annotations

from catga_core.clock import Clock
from catga_core.errors import MessageIdConflictError
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.messages.fingerprints import same_content
from catga_core.option_checks import check_name


class _Notes(Table[tuple[str, str], tuple[float, str]]):
    pass


class MemoryInboxStore:
    """Remembers (message id, handler) in memory.

    Args:
        storage: Where the notes are kept.
        clock: Tells how old they are.
    """

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._notes = storage.part(_Notes)

    async def record(self, message_id: str, handler: str, /, *, fingerprint: str = "") -> bool:
        """Note that a handler has had a message; joins the ambient unit of work."""
        check_name("message_id", message_id)
        rows = self._notes.write(await self._storage.write())
        noted = rows.get((message_id, handler))
        if noted is not None:
            if not same_content(noted[1], fingerprint):
                raise MessageIdConflictError(message_id, f"the inbox of {handler}")
            return False
        rows[message_id, handler] = self._clock.time(), fingerprint
        return True

    async def seen(self, message_id: str, handler: str, /) -> bool:
        """Tell whether a handler has had a message."""
        return (message_id, handler) in self._notes.read()

    async def forget(self, message_id: str, handler: str, /) -> None:
        """Take a note back: for a handler that failed outside of a unit of work."""
        rows = self._notes.write(await self._storage.write())
        rows.pop((message_id, handler), None)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove notes, at most `limit`; return how many."""
        rows = self._notes.write(await self._storage.write())
        before = self._clock.time() - older_than
        # The oldest come first, so that a caller with nothing to prune looks at one record.
        old: list[tuple[str, str]] = []
        for key in rows:
            if len(old) >= limit or rows[key][0] >= before:
                break
            old.append(key)
        for key in old:
            del rows[key]
        return len(old)
