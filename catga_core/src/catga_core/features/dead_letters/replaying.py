"""Replays the dead letters of a filter: in order for each key, several keys at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeAlias

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.features.dead_letters.dry_runs import DryRun
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterStore
from catga_core.messages.results import CatgaResult, Failure

OnEach: TypeAlias = Callable[[DeadLetter, CatgaResult[Any]], object]
"""Called after each letter with its result."""

ReplayOne: TypeAlias = Callable[[DeadLetter], Awaitable["CatgaResult[Any] | DryRun | None"]]
"""Replays a letter; returns `None` for one that is not there any more."""


class ReplayReport(msgspec.Struct, frozen=True):
    """The outcome of replaying several dead letters.

    Args:
        succeeded: How many were handled, and removed.
        failed: The errors of those that failed, by their ids.
        held_back: Those that were not tried, because an earlier one of their key failed: its id, by their ids.
        dry_runs: What a dry run of each would have done, by their ids; empty otherwise.
    """

    succeeded: int
    failed: dict[str, CatgaError]
    held_back: dict[str, str] = {}
    dry_runs: dict[str, DryRun] = {}


class Pace:
    """Spreads calls evenly over time.

    Args:
        per_second: How many calls a second may have at most; `None` for no limit.
        clock: The container's clock.
    """

    def __init__(self, per_second: float | None, clock: Clock) -> None:
        self._interval = None if per_second is None else 1 / per_second
        self._clock = clock
        self._next = clock.monotonic()

    async def wait(self) -> None:
        """Return when the next call may be made."""
        if self._interval is None:
            return
        now = self._clock.monotonic()
        at = max(now, self._next)
        self._next = at + self._interval
        if at > now:
            await self._clock.sleep(at - now)


class Run:
    """One replay of all letters of a filter.

    Args:
        letters: The store.
        replay: Replays one letter.
        pace: Limits the rate.
        max_concurrent: How many letters are replayed at the same time.
        on_each: Called after each letter; `None` for nothing.
    """

    def __init__(
        self,
        letters: DeadLetterStore,
        replay: ReplayOne,
        pace: Pace,
        max_concurrent: int,
        on_each: OnEach | None,
    ) -> None:
        self._letters = letters
        self._replay = replay
        self._pace = pace
        self._max_concurrent = max_concurrent
        self._busy: set[Hashable] = set()
        self._on_each = on_each
        self._succeeded = 0
        self._failed: dict[str, CatgaError] = {}
        self._held_back: dict[str, str] = {}
        self._dry_runs: dict[str, DryRun] = {}
        # By lane, the letter that failed.
        self._stopped: dict[Hashable, str] = {}

    async def all(self, filter: DeadLetterFilter) -> ReplayReport:
        """Replay the letters of a filter, each once.

        A page is ended before the next one is read, so that as many letters as a page has are in memory.

        Raises:
            CatgaError: The storage is away; the letters that were not replayed are still there.
        """
        after: str | None = None
        while True:
            page = await self._letters.find(filter, after=after)
            waiting = list(page.letters)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._max_concurrent, len(waiting))):
                        group.create_task(self._work(waiting))
            except ExceptionGroup as several:
                # The others were cancelled; one tells what is wrong.
                raise several.exceptions[0] from None
            if page.next is None:
                return ReplayReport(self._succeeded, self._failed, self._held_back, self._dry_runs)
            after = page.next

    async def _work(self, waiting: list[DeadLetter]) -> None:
        # When nothing can be taken, each key that still has a letter is in the hands of another worker, which goes on with it.
        while (letter := self._take(waiting)) is not None:
            lane = _lane(letter)
            self._busy.add(lane)
            try:
                await self._pace.wait()
                outcome = await self._replay(letter)
            finally:
                self._busy.discard(lane)
            # There is none where somebody else has replayed or purged it since the page was read.
            if outcome is not None:
                self._note(lane, letter, outcome)

    def _take(self, waiting: list[DeadLetter]) -> DeadLetter | None:
        """Take the oldest letter of a key that nobody works on, `None` for none."""
        for letter in tuple(waiting):
            lane = _lane(letter)
            if lane in self._busy:
                continue
            waiting.remove(letter)
            failed = self._stopped.get(lane)
            if failed is None:
                return letter
            self._held_back[letter.id] = failed
        return None

    def _note(self, lane: Hashable, letter: DeadLetter, outcome: CatgaResult[Any] | DryRun) -> None:
        if isinstance(outcome, DryRun):
            self._dry_runs[letter.id] = outcome
            outcome = outcome.result
        if isinstance(outcome, Failure):
            self._failed[letter.id] = outcome.error
            self._stopped[lane] = letter.id
        else:
            self._succeeded += 1
        if self._on_each is not None:
            self._on_each(letter, outcome)


def _lane(letter: DeadLetter) -> Hashable:
    """Return what letters have in common that are replayed in their order; one without a key is alone."""
    if letter.key is None:
        return letter.id
    return letter.source, letter.queue, letter.handler, letter.key
