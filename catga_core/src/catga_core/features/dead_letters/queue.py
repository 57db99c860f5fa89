"""`DeadLetterQueue`: lists, replays and purges dead letters."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, overload

from catga_core.clock import Clock
from catga_core.errors import LeaseLostError, LockedError
from catga_core.features.dead_letters.dry_runs import DryRun, dry_run
from catga_core.features.dead_letters.ending import Ending
from catga_core.features.dead_letters.redelivery import Redelivery
from catga_core.features.dead_letters.replayers import Replayer, Replayers, missing
from catga_core.features.dead_letters.replaying import OnEach, Pace, ReplayOne, ReplayReport, Run
from catga_core.features.locks.locks import Locks
from catga_core.interfaces.dead_letters import (
    ALL_LETTERS,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStore,
)
from catga_core.interfaces.storage import Storage
from catga_core.log import LETTER_REPLAYED, logger
from catga_core.mediator import Dispatcher
from catga_core.messages.results import CatgaResult, Failure
from catga_core.option_checks import MOST_COUNT, check_count, check_seconds

_MOST_PER_SECOND = 1e6


class DeadLetterQueue:
    """The container's dead letters, for operators.

    Args:
        letters: The store.
        dispatcher: The container's dispatcher.
        clock: The container's clock.
        locks: Keep two processes from replaying one dead letter at the same time.
        storage: The container's storage: a dry run is rolled back in it.
        replayers: Replay the dead letters of some sources.
        redelivery: Replays those of the others.
        ending: Removes dead letters.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self,
        letters: DeadLetterStore,
        dispatcher: Dispatcher,
        clock: Clock,
        locks: Locks,
        storage: Storage,
        replayers: Replayers,
        redelivery: Redelivery,
        ending: Ending,
    ) -> None:
        self._letters = letters
        self._dispatcher = dispatcher
        self._clock = clock
        self._locks = locks
        self._storage = storage
        self._replayers = replayers
        self._redelivery = redelivery
        self._ending = ending

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """List dead letters, a page at a time, oldest first.

        Args:
            filter: Which dead letters.
            after: The `next` of the previous page; `None` for the first page.
            limit: Maximum number of dead letters, 1 or more.

        Returns:
            The page.
        """
        check_count("limit", limit, most=MOST_COUNT)
        return await self._letters.find(filter, after=after, limit=limit)

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a dead letter, `None` where there is none."""
        return await self._letters.get(letter_id)

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return the number of dead letters that match a filter."""
        return await self._letters.count(filter)

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Delete every dead letter that matches a filter; return their number.

        The keys that they hold in queues are released.
        """
        return await self._ending.purge(filter)

    @overload
    async def replay(self, letter_id: str, /, *, dry_run: Literal[False] = False) -> CatgaResult[None]: ...
    @overload
    async def replay(self, letter_id: str, /, *, dry_run: Literal[True]) -> DryRun: ...
    @overload
    async def replay(self, letter_id: str, /, *, dry_run: bool) -> CatgaResult[None] | DryRun: ...

    async def replay(self, letter_id: str, /, *, dry_run: bool = False) -> CatgaResult[None] | DryRun:
        """Redeliver a message to the handler that failed, and to no other, through its whole pipeline.

        The message keeps its message id and gets the header `catga-replay`. A success removes the dead letter, another
        failure updates it. Where the handler runs in a unit of work of the container's storage, which keeps the dead letter
        too, the removal is part of it, so that its effects there happen once. Elsewhere delivery is at least once: a process
        that dies between the handler's end and the removal leaves the dead letter.

        By source: a message of a queue is handled here, and the messages of its key that the queue holds after it; a message
        that the outbox relay gave up is sent; an event that a projection or subscription has parked is handled by it; an
        event that could not be decoded when it came is decoded again and delivered to every handler here, and a handler that
        fails gets a dead letter of its own.

        A dry run handles the message too, and then leaves the dead letter as it is. Events that are published, commands that
        are enqueued or cancelled, and commands that are sent to other processes are recorded instead. What is written to
        stores of the container's storage, or through `UnitOfWork.connection`, is rolled back. Nothing holds back what else a
        handler does: calls of other systems, files, queries to other processes, messages given to a transport directly, writes
        to other storages, and what tasks do that it leaves running.

        Args:
            letter_id: The dead letter's id.
            dry_run: Whether nothing is to remain of it.

        Returns:
            What the handler ended with, or what a dry run would have done. A failure of code `HANDLER_NOT_FOUND` when there
            is no such letter or this process does not have its handler, and `LOCKED` when another process is replaying it
            or has taken over because this one was too slow.
        """
        outcome = await (self._rehearse if dry_run else self._replay)(letter_id)
        if outcome is None:
            absent: CatgaResult[None] = Failure(missing(letter_id))
            return DryRun(absent) if dry_run else absent
        return outcome

    async def replay_all(
        self,
        filter: DeadLetterFilter = ALL_LETTERS,
        /,
        *,
        max_concurrent: int = 1,
        per_second: float | None = None,
        on_each: OnEach | None = None,
        dry_run: bool = False,
    ) -> ReplayReport:
        """Replay every dead letter that matches a filter, once, oldest first.

        Dead letters of one source, handler and key are replayed one after the other. After one that fails, the later ones of
        its key are held back: they are not tried in this run. It may be repeated, also by another process while this one
        runs or after it died: the order of each key stays.

        Args:
            filter: Which dead letters.
            max_concurrent: How many are replayed at the same time, each of another key or of none.
            per_second: How many are begun in a second at most; `None` for no limit.
            on_each: Called after each one with the dead letter as it was, and its result.
            dry_run: As in `replay`. Each is rolled back before the next one of its key, which does not see its effects.

        Returns:
            How many succeeded, the errors of those that failed, and which were held back.

        Raises:
            CatgaError: The storage is away. What was not replayed is still there.
        """
        check_count("max_concurrent", max_concurrent, most=MOST_COUNT)
        check_seconds("per_second", per_second, most=_MOST_PER_SECOND, optional=True)

        async def one(letter: DeadLetter) -> CatgaResult[Any] | DryRun | None:
            return await (self._rehearse if dry_run else self._replay)(letter.id)

        replay: ReplayOne = one
        run = Run(self._letters, replay, Pace(per_second, self._clock), max_concurrent, on_each)
        return await run.all(filter)

    async def _replay(self, letter_id: str) -> CatgaResult[None] | None:
        """Replay a letter; return `None` where there is none."""
        result: CatgaResult[None]
        try:
            async with self._locks.try_hold(_lock_of(letter_id), lease=self._replayers.lease) as lock:
                if lock is None:
                    return Failure(_locked(letter_id))
                letter = await self._letters.get(letter_id)
                if letter is None:
                    return None
                result = await self._replayer(letter).replay(letter, lock.fencing_token)
        except LeaseLostError as lost:
            # The handler was cancelled; the dead letter stays for the next replay.
            result = Failure(lost)
        if isinstance(result, Failure):
            logger().info(LETTER_REPLAYED, letter_id=letter_id, outcome="failed", code=result.error.code)
        else:
            logger().info(LETTER_REPLAYED, letter_id=letter_id, outcome="handled")
        return result

    async def _rehearse(self, letter_id: str) -> DryRun | None:
        """Do a dry run of a letter; return `None` where there is none."""
        try:
            async with self._locks.try_hold(_lock_of(letter_id), lease=self._replayers.lease) as lock:
                if lock is None:
                    return DryRun(Failure(_locked(letter_id)))
                letter = await self._letters.get(letter_id)
                if letter is None:
                    return None
                refused = self._replayers.rehearsable(letter)
                if refused is not None:
                    return DryRun(Failure(refused))
                replayer = self._replayer(letter)
                return await dry_run(self._dispatcher, self._storage, lambda: replayer.rehearse(letter))
        except LeaseLostError as lost:
            return DryRun(Failure(lost))

    def _replayer(self, letter: DeadLetter) -> Replayer:
        return self._replayers.of(letter.source) or self._redelivery


def _lock_of(letter_id: str) -> str:
    # Consumers take the same one when they replay what they have parked.
    return f"catga-dead-letter:{letter_id}"


def _locked(letter_id: str) -> LockedError:
    return LockedError(
        f"The dead letter {letter_id!r} is being replayed by another process. Try again later."
    )
