"""The inbox in Redis."""

from __future__ import annotations

from catga_core.errors import MessageIdConflictError
from catga_core.identifiers import new_id
from catga_core.messages.fingerprints import same_content
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage


class RedisInboxStore:
    """Remembers (message id, handler): one hash, and the same by time.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._key = f"{storage.root}inbox"

    async def record(self, message_id: str, handler: str, /, *, fingerprint: str = "") -> bool:
        """Note that a handler has had a message; two units of work at once conflict at the commit."""
        member = _member(message_id, handler)
        unit = self._storage.joined()
        if unit is None:
            answer = await self._commands.run("record", member, new_id(), fingerprint, message_id, handler)
            if is_refusal(answer) and answer[0] != b"seen":
                raise refusal(answer)
            return not is_refusal(answer)
        noted = unit.inbox.get(member)
        if noted is None:
            noted = await self._noted(member)
        if noted is not None:
            if not same_content(noted, fingerprint):
                raise MessageIdConflictError(message_id, f"the inbox of {handler}")
            return False
        unit.inbox[member] = fingerprint
        unit.stage("record", member, new_id(), fingerprint, message_id, handler, key=("inbox", member))
        return True

    async def seen(self, message_id: str, handler: str, /) -> bool:
        """Tell whether a handler has had a message."""
        member = _member(message_id, handler)
        unit = self._storage.joined()
        return (unit is not None and member in unit.inbox) or await self._noted(member) is not None

    async def forget(self, message_id: str, handler: str, /) -> None:
        """Take a note back."""
        member = _member(message_id, handler)
        unit = self._storage.joined()
        if unit is not None:
            unit.inbox.pop(member, None)
            unit.unstage(("inbox", member))
            unit.stage("forget", member)
            return
        await self._commands.run("forget", member)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove notes, at most `limit`; return how many."""
        removed: int = await self._commands.run("prune_inbox", older_than, limit)
        return removed

    async def _noted(self, member: str) -> str | None:
        """Return the fingerprint that was noted, `None` where nothing was."""
        found: bytes | None = await self._commands.read("HGET", self._key, member)
        if found is None:
            return None
        # Its message is not handled again, so it has to last as long as an effect would.
        await self._commands.confirm()
        return found.decode().partition(":")[2]


def _member(message_id: str, handler: str) -> str:
    # By its length, so that no two pairs are one text.
    return f"{len(handler)}:{handler}:{message_id}"
