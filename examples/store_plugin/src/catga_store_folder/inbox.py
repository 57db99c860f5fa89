"""The port `InboxStore` over a folder."""

from __future__ import annotations

import msgspec

from catga_core import Clock
from catga_core.errors import MessageIdConflictError
from catga_core.storage_support import same_content

from .disk import name_of
from .storage import FolderStorage

_TABLE = "inbox"


class _Note(msgspec.Struct, frozen=True):
    message_id: str
    handler: str
    noted_at: float
    fingerprint: str = ""


class FolderInboxStore:
    """One file for each message and handler."""

    def __init__(self, storage: FolderStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def record(self, message_id: str, handler: str, /, *, fingerprint: str = "") -> bool:
        """Note that a handler has had a message; `True` for the first time."""
        name = name_of(message_id, handler)
        async with self._storage.writing() as files:
            found = files.get(_TABLE, name)
            if found is None:
                note = _Note(message_id, handler, self._clock.time(), fingerprint)
                files.put(_TABLE, name, msgspec.json.encode(note))
                return True
        if not same_content(msgspec.json.decode(found, type=_Note).fingerprint, fingerprint):
            raise MessageIdConflictError(message_id, f"the inbox of {handler}")
        return False

    async def seen(self, message_id: str, handler: str, /) -> bool:
        """Tell whether a handler has had a message."""
        return self._storage.reading().get(_TABLE, name_of(message_id, handler)) is not None

    async def forget(self, message_id: str, handler: str, /) -> None:
        """Take a note back."""
        async with self._storage.writing() as files:
            files.put(_TABLE, name_of(message_id, handler), None)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove notes that are older than so many seconds, at most `limit`; return how many."""
        limit_time = self._clock.time() - older_than
        async with self._storage.writing() as files:
            notes = (msgspec.json.decode(each, type=_Note) for each in files.all(_TABLE))
            old = [each for each in notes if each.noted_at < limit_time][:limit]
            for each in old:
                files.put(_TABLE, name_of(each.message_id, each.handler), None)
        return len(old)
