"""Dead letters in memory."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from catga_core.interfaces.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetterPage
from catga_core.memory.engine.table import Table
from catga_core.memory.storage import MemoryStorage
from catga_core.option_checks import check_name


class _Letters:
    """The letters by the number of their coming, and that number by their id."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.letters: Table[int, DeadLetter] = Table(storage)
        self.numbers: Table[str, int] = Table(storage)
        self.last = 0


class MemoryDeadLetterStore:
    """Keeps dead letters in memory.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._kept = storage.part(_Letters)

    async def add(self, letter: DeadLetter, /) -> None:
        """Keep a letter; joins the ambient unit of work."""
        check_name("id", letter.id)
        unit = await self._storage.write()
        letters, numbers = self._kept.letters.write(unit), self._kept.numbers.write(unit)
        number = numbers.get(letter.id)
        if number is None:
            self._kept.last += 1
            numbers[letter.id] = self._kept.last
            letters[self._kept.last] = letter
            return
        before = letters[number]
        letters[number] = msgspec.structs.replace(
            letter,
            attempts=before.attempts + letter.attempts,
            first_failed_at=before.first_failed_at,
            replays=before.replays,
        )

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a letter, `None` where there is none."""
        number = self._kept.numbers.read().get(letter_id)
        return None if number is None else self._kept.letters.read()[number]

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """Return the letters a filter means, a page at a time, in the order in which they first came."""
        letters = self._kept.letters.read()
        numbers = list(letters)
        begin = 0 if after is None else bisect_right(numbers, _number(after))
        found: list[DeadLetter] = []
        last = 0
        for number in numbers[begin:]:
            letter = letters[number]
            if _means(filter, letter):
                if len(found) == limit:
                    return DeadLetterPage(found, str(last))
                found.append(letter)
                last = number
        return DeadLetterPage(found, None)

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return how many letters a filter means."""
        letters = self._kept.letters.read()
        return (
            len(letters) if filter == ALL_LETTERS else sum(_means(filter, each) for each in letters.values())
        )

    async def replaying(self, letter_id: str, /) -> DeadLetter | None:
        """Note that a letter is being replayed: its `replays` is one more; return it, `None` where there is none."""
        unit = await self._storage.write()
        number = self._kept.numbers.write(unit).get(letter_id)
        if number is None:
            return None
        letters = self._kept.letters.write(unit)
        before = letters[number]
        letters[number] = replayed = msgspec.structs.replace(before, replays=before.replays + 1)
        return replayed

    async def remove(self, letter_id: str, /) -> bool:
        """Remove a letter; tell whether there was one. Joins the ambient unit of work."""
        unit = await self._storage.write()
        number = self._kept.numbers.write(unit).pop(letter_id, None)
        if number is None:
            return False
        del self._kept.letters.write(unit)[number]
        return True

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Remove every letter a filter means; return how many."""
        unit = await self._storage.write()
        letters, numbers = self._kept.letters.write(unit), self._kept.numbers.write(unit)
        meant = [(number, letter.id) for number, letter in letters.items() if _means(filter, letter)]
        for number, letter_id in meant:
            del letters[number]
            del numbers[letter_id]
        return len(meant)


def _number(after: str) -> int:
    try:
        return int(after)
    except ValueError:
        msg = f"after={after!r} is not a page of these dead letters: give the `next` of the page before"
        raise ValueError(msg) from None


def _means(filter: DeadLetterFilter, letter: DeadLetter) -> bool:
    return (
        filter.source in {None, letter.source}
        and filter.handler in {None, letter.handler}
        and filter.name in {None, letter.name}
        and filter.code in {None, letter.code}
        and filter.queue in {None, letter.queue}
        and filter.key in {None, letter.key}
        and filter.message_id in {None, letter.context.message_id}
        and (filter.failed_after is None or letter.last_failed_at > filter.failed_after)
        and (filter.failed_before is None or letter.last_failed_at < filter.failed_before)
    )
