"""The port `DeadLetterStore` over a folder."""

from __future__ import annotations

import msgspec

from catga_core.interfaces import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetterPage

from .disk import name_of
from .storage import Files, FolderStorage

_TABLE = "dead_letters"
_LAST = ("numbers", "dead_letters")


class _Kept(msgspec.Struct, frozen=True):
    """A letter and its place: the numbers of letters rise in the order in which they first came."""

    number: int
    letter: DeadLetter


class FolderDeadLetterStore:
    """One file for each letter."""

    def __init__(self, storage: FolderStorage) -> None:
        self._storage = storage

    async def add(self, letter: DeadLetter, /) -> None:
        """Keep a letter; one with the same id is replaced, and its attempts are added up."""
        async with self._storage.writing() as files:
            found = _of(files, letter.id)
            if found is None:
                _put(files, _Kept(_next_number(files), letter))
                return
            again = msgspec.structs.replace(
                letter,
                attempts=found.letter.attempts + letter.attempts,
                first_failed_at=found.letter.first_failed_at,
                replays=found.letter.replays,
            )
            _put(files, _Kept(found.number, again))

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a letter, `None` where there is none."""
        found = _of(self._storage.reading(), letter_id)
        return None if found is None else found.letter

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """Return the letters a filter means, a page at a time, in the order in which they first came."""
        start = int(after or 0)
        found = [each for each in _all(self._storage.reading(), filter) if each.number > start]
        page = found[:limit]
        # The next page begins after the last letter of this one, by its number: that stays, whoever is removed.
        following = str(page[-1].number) if len(found) > limit else None
        return DeadLetterPage([each.letter for each in page], following)

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return how many letters a filter means."""
        return len(_all(self._storage.reading(), filter))

    async def replaying(self, letter_id: str, /) -> DeadLetter | None:
        """Note that a letter is being replayed; return it, `None` where there is none."""
        async with self._storage.writing() as files:
            found = _of(files, letter_id)
            if found is None:
                return None
            letter = msgspec.structs.replace(found.letter, replays=found.letter.replays + 1)
            _put(files, _Kept(found.number, letter))
        return letter

    async def remove(self, letter_id: str, /) -> bool:
        """Remove a letter; tell whether there was one."""
        async with self._storage.writing() as files:
            found = _of(files, letter_id)
            if found is not None:
                files.put(_TABLE, name_of(letter_id), None)
        return found is not None

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Remove every letter a filter means; return how many."""
        async with self._storage.writing() as files:
            meant = _all(files, filter)
            for each in meant:
                files.put(_TABLE, name_of(each.letter.id), None)
        return len(meant)


def _of(files: Files, letter_id: str) -> _Kept | None:
    data = files.get(_TABLE, name_of(letter_id))
    return None if data is None else msgspec.json.decode(data, type=_Kept)


def _put(files: Files, kept: _Kept) -> None:
    # Headers may be a read-only mapping, which JSON takes as a dict.
    files.put(_TABLE, name_of(kept.letter.id), msgspec.json.encode(kept, enc_hook=dict))


def _next_number(files: Files) -> int:
    # Kept for itself: were it the highest one there is, a page's mark could be given a second time.
    number = int(files.get(*_LAST) or b"0") + 1
    files.put(*_LAST, b"%d" % number)
    return number


def _all(files: Files, wanted: DeadLetterFilter) -> list[_Kept]:
    kept = (msgspec.json.decode(each, type=_Kept) for each in files.all(_TABLE))
    return sorted((each for each in kept if _fits(each.letter, wanted)), key=lambda each: each.number)


def _fits(letter: DeadLetter, wanted: DeadLetterFilter) -> bool:
    return (
        wanted.source in {None, letter.source}
        and wanted.handler in {None, letter.handler}
        and wanted.name in {None, letter.name}
        and wanted.code in {None, letter.code}
        and wanted.queue in {None, letter.queue}
        and wanted.key in {None, letter.key}
        and wanted.message_id in {None, letter.context.message_id}
        and (wanted.failed_after is None or letter.last_failed_at > wanted.failed_after)
        and (wanted.failed_before is None or letter.last_failed_at < wanted.failed_before)
    )
