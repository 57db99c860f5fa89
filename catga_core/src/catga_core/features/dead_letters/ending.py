"""Removes dead letters that are done with, and releases the keys that they hold in queues."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterStore
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.storage import Storage


class Ending:
    """Ends dead letters.

    Args:
        letters: The store.
        storage: The container's storage.
        transport: Holds the keys of dead letters; `None` where the container has no queues.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self, letters: DeadLetterStore, storage: Storage, transport: DurableTransport | None = None
    ) -> None:
        self._letters = letters
        self._storage = storage
        self._transport = transport

    def joins(self, letter: DeadLetter) -> bool:
        """Return whether `end` can be part of a unit of work."""
        return not _holds(letter) or self._transport is None or self._transport.capabilities.transactional

    async def end(self, letter: DeadLetter) -> bool:
        """Remove a letter whose message was handled, and release its key; return whether it was there."""
        if self._transport is None or not _holds(letter):
            return await self._letters.remove(letter.id)
        queue, key = letter.queue, letter.key or ""
        if self._transport.capabilities.transactional:
            async with self._storage.unit_of_work():
                removed = await self._letters.remove(letter.id)
                await self._release(queue, key, but={letter.id})
            return removed
        # A crash between the two replays the message once more, and never leaves a key held without a letter.
        await self._release(queue, key, but={letter.id})
        return await self._letters.remove(letter.id)

    async def purge(self, filter: DeadLetterFilter) -> int:
        """Remove letters, and release their keys; return their number."""
        held: Mapping[tuple[str, str], Collection[str]] = {}
        if self._transport is not None:
            held = await self._held_by(filter)
        # Before, so that a crash leaves no key held without a letter; after, for those that were held meanwhile.
        for (queue, key), ids in held.items():
            await self._release(queue, key, but=ids)
        purged = await self._letters.purge(filter)
        for queue, key in held:
            await self._release(queue, key)
        return purged

    async def _release(self, queue: str, key: str, *, but: Collection[str] = ()) -> None:
        if self._transport is None:
            return
        rest = await self._letters.find(DeadLetterFilter(queue=queue, key=key), limit=len(but) + 1)
        if all(each.id in but for each in rest.letters):
            await self._transport.release_key(queue, key)

    async def _held_by(self, filter: DeadLetterFilter) -> Mapping[tuple[str, str], Collection[str]]:
        """Return the ids of the letters of a filter that hold keys, by queue and key."""
        found: dict[tuple[str, str], set[str]] = {}
        after: str | None = None
        while True:
            page = await self._letters.find(filter, after=after)
            for each in page.letters:
                if _holds(each):
                    found.setdefault((each.queue, each.key or ""), set()).add(each.id)
            if page.next is None:
                return found
            after = page.next


def _holds(letter: DeadLetter) -> bool:
    # Letters of other sources have keys too, which no queue knows.
    return bool(letter.queue) and letter.key is not None
