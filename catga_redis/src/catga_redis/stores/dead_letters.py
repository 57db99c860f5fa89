"""Dead letters in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from msgspec.structs import replace

from catga_core.identifiers import new_id
from catga_core.interfaces.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetterPage
from catga_core.storage_support.records import decode_letter, encode_letter
from catga_redis.storage import RedisStorage

_LOOK_AT = 500  # letters one script looks at: it keeps everybody else waiting meanwhile


class RedisDeadLetterStore:
    """Keeps dead letters: a hash for each, and a sorted set of all.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._all = f"{storage.root}dl"

    async def add(self, letter: DeadLetter, /) -> None:
        """Keep a letter, or add to the one of the same id; inside a unit of work, at the commit."""
        arguments = (
            letter.id,
            # Asked again because the answer was lost, the same operation adds nothing.
            new_id(),
            letter.attempts,
            repr(letter.first_failed_at),
            repr(letter.last_failed_at),
            letter.replays,
            letter.source.value,
            letter.handler,
            letter.name,
            letter.code,
            letter.queue,
            _given(letter.key),
            encode_letter(letter),
            letter.context.message_id,
        )
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("add_letter", *arguments)
            return
        await self._commands.run("add_letter", *arguments)

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a letter, `None` where there is none."""
        return _letter(await self._commands.run("get_letter", letter_id))

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """Return the letters a filter means, a page at a time."""
        letters: list[DeadLetter] = []
        places: list[str] = []
        # One more than asked for tells whether there is another page.
        async for found in self._each("read", filter, after=after or "0", want=limit + 1):
            for place, fields in found:
                letter = _letter(fields)
                if letter is not None:
                    letters.append(letter)
                    places.append(place.decode())
        more = len(letters) > limit
        return DeadLetterPage(letters[:limit], places[limit - 1] if more else None)

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return how many letters a filter means."""
        total = 0
        async for found in self._each("count", filter):
            total += found
        return total

    async def replaying(self, letter_id: str, /) -> DeadLetter | None:
        """Note that a letter is being replayed, and return it."""
        return _letter(await self._commands.run("replaying", letter_id, new_id()))

    async def remove(self, letter_id: str, /) -> bool:
        """Remove a letter; tell whether there was one.

        Where the first answer was lost, `False` may also mean that the first try has removed it.
        """
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("remove_letter", letter_id)
            return await self._commands.read("ZSCORE", self._all, letter_id) is not None
        return bool(await self._commands.run("remove_letter", letter_id))

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Remove every letter a filter means; return how many."""
        total = 0
        async for found in self._each("purge", filter):
            total += found
        return total

    async def _each(
        self, act: str, filter: DeadLetterFilter, *, after: str = "0", want: int = 0
    ) -> AsyncIterator[Any]:
        place, left = after, want
        while True:
            last, more, found = await self._commands.run(
                "find_letters", place, _LOOK_AT, left, act, *_wanted(filter)
            )
            yield found
            left -= len(found) if act == "read" else 0
            place = last
            if not more or (want and left <= 0):
                return


def _wanted(filter: DeadLetterFilter) -> list[str]:
    texts = [
        filter.source and filter.source.value,
        filter.handler,
        filter.name,
        filter.code,
        filter.queue,
        filter.key,
    ]
    times = [filter.failed_after, filter.failed_before]
    return [
        *map(_given, texts),
        *("" if time is None else repr(float(time)) for time in times),
        _given(filter.message_id),
    ]


def _given(text: str | None) -> str:
    return "0" if text is None else f"1{text}"


def _letter(fields: Sequence[Any] | None) -> DeadLetter | None:
    if fields is None or fields[0] is None:
        return None
    stored, attempts, first, replays = fields
    letter = decode_letter(stored)
    return replace(letter, attempts=int(attempts), first_failed_at=float(first), replays=int(replays))
