"""`DeadLetterQueue`: lists, replays and purges what could not be handled."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from catga_core.clock import Clock
from catga_core.errors import (
    CatgaError,
    HandlerNotFoundError,
    LeaseLostError,
    LockedError,
    SerializationError,
)
from catga_core.features.locks.locks import Locks
from catga_core.interfaces.dead_letters import (
    ALL_LETTERS,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterSource,
    DeadLetterStore,
)
from catga_core.log import LETTER_REPLAYED, logger, traceback_of
from catga_core.mediator import CatgaMediator
from catga_core.messages import Event, MessageType
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer

REPLAY_HEADER = "catga-replay"
"""The header that marks a replayed event in `current_context().headers`: how often it was replayed, `"1"` the first time."""

_LEASE_SECONDS = 60.0
_REPLAYABLE = frozenset({DeadLetterSource.HANDLER, DeadLetterSource.OUTBOX})


class ReplayReport(msgspec.Struct, frozen=True):
    """What came of replaying several letters.

    Parameters:
        succeeded: how many are done, and gone.
        failed: the others, by their ids.
    """

    succeeded: int
    failed: dict[str, CatgaError]


class DeadLetterQueue:
    """The dead letters of the container, for the people and programs that look after it.

    Parameters:
        letters: where they are kept.
        mediator: the container's.
        serializer: the container's.
        clock: the container's.
        locks: keeps two from replaying one letter at the same time.
        registry: knows the events' classes and upcasters.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self,
        letters: DeadLetterStore,
        mediator: CatgaMediator,
        serializer: Serializer,
        clock: Clock,
        locks: Locks,
        registry: MessageRegistry,
    ) -> None:
        self._letters = letters
        self._mediator = mediator
        self._serializer = serializer
        self._clock = clock
        self._locks = locks
        self._registry = registry

    async def find(
        self, filter: DeadLetterFilter = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        """Return the letters a filter means, a page at a time, in the order in which they first came.

        Parameters:
            filter: which ones.
            after: the `next` of the page before, `None` for the first page.
            limit: how many at most, 1 or more.
        """
        return await self._letters.find(filter, after=after, limit=limit)

    async def get(self, letter_id: str, /) -> DeadLetter | None:
        """Return a letter, `None` where there is none."""
        return await self._letters.get(letter_id)

    async def count(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> int:
        """Return how many letters a filter means."""
        return await self._letters.count(filter)

    async def purge(self, filter: DeadLetterFilter, /) -> int:
        """Remove every letter a filter means, for good; return how many."""
        return await self._letters.purge(filter)

    async def replay(self, letter_id: str, /) -> CatgaResult[None]:
        """Deliver a letter's event once more: to the handler that failed and to no other, through its whole pipeline.

        The event keeps its message id; the header `catga-replay` marks it. A success removes the letter, another failure
        updates it. What the outbox could not send is sent. It is delivered at least once: a process that dies between
        the handler's end and the removal leaves the letter. What a projection or subscription has parked is left as it
        is: their own `replay_parked` handles that.

        Parameters:
            letter_id: which one.

        Returns:
            a success, or the failure: what the handler ended with, or why it could not be replayed: `LOCKED` while it is
            being replayed elsewhere, or when this replay could not keep others from it any longer, `HANDLER_NOT_FOUND` for no letter, no handler of its name in this process, or what
            a projection or subscription has parked.
        """
        result: CatgaResult[None]
        try:
            async with self._locks.try_hold(f"catga-dead-letter:{letter_id}", lease=_LEASE_SECONDS) as lock:
                if lock is None:
                    text = f"the dead letter {letter_id!r} is being replayed by another"
                    return Failure(LockedError(text))
                result = await self._replay(letter_id)
        except LeaseLostError as lost:
            # The handler was cancelled, and the letter is there for the next replay.
            result = Failure(lost)
        if isinstance(result, Failure):
            logger().info(LETTER_REPLAYED, letter_id=letter_id, outcome="failed", code=result.error.code)
        else:
            logger().info(LETTER_REPLAYED, letter_id=letter_id, outcome="handled")
        return result

    async def replay_all(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> ReplayReport:
        """Replay every letter a filter means, one after the other, in the order in which they first came.

        Each letter is replayed once, also when it fails again meanwhile.

        Parameters:
            filter: which ones.
        """
        succeeded, failed = 0, dict[str, CatgaError]()
        after: str | None = None
        while True:
            page = await self._letters.find(filter, after=after)
            for letter in page.letters:
                result = await self.replay(letter.id)
                if isinstance(result, Failure):
                    failed[letter.id] = result.error
                else:
                    succeeded += 1
            if page.next is None:
                return ReplayReport(succeeded, failed)
            after = page.next

    async def _replay(self, letter_id: str) -> CatgaResult[None]:
        letter = await self._letters.get(letter_id)
        if letter is None:
            return Failure(_missing(letter_id))
        try:
            # Before it counts as a replay: what this process cannot do is not the letter's failure.
            described, event = self._read(letter)
        except CatgaError as error:
            return Failure(error)
        if letter.source is DeadLetterSource.HANDLER and letter.handler not in self._mediator.handlers_of(
            described.cls
        ):
            return Failure(_no_handler(letter))
        letter = await self._letters.replaying(letter_id)
        if letter is None:
            return Failure(_missing(letter_id))
        result = await self._deliver(letter, described, event)
        if isinstance(result, Failure):
            await self._letters.add(self._failed_again(letter, result.error))
            return Failure(result.error)
        await self._letters.remove(letter.id)
        return Success(None)

    def _read(self, letter: DeadLetter) -> tuple[MessageType, Event]:
        if letter.source not in _REPLAYABLE:
            raise _not_for_a_handler(letter)
        if not letter.format:
            text = f"the dead letter {letter.id!r} holds no bytes: {letter.name} could not be serialized when it failed"
            raise SerializationError(text)
        return self._registry.decode(
            letter.name, letter.schema_version, letter.format, letter.data, self._serializer, Event
        )

    async def _deliver(self, letter: DeadLetter, described: MessageType, event: Event) -> CatgaResult[Any]:
        headers = MappingProxyType({**letter.context.headers, REPLAY_HEADER: str(letter.replays)})
        context = msgspec.structs.replace(letter.context, headers=headers, deadline=None)
        if letter.source is DeadLetterSource.HANDLER:
            return await self._mediator.redeliver(described, letter.handler, event, context)
        try:
            await self._mediator.hand_over(described, event, context)
        except CatgaError as error:
            return Failure(error)
        return Success(None)

    def _failed_again(self, letter: DeadLetter, error: CatgaError) -> DeadLetter:
        return msgspec.structs.replace(
            letter,
            code=error.code,
            message=error.message,
            traceback=traceback_of(error.__cause__),
            attempts=1,
            last_failed_at=self._clock.time(),
        )


def _missing(letter_id: str) -> CatgaError:
    text = f"there is no dead letter {letter_id!r}: it was replayed or purged, or never was"
    return HandlerNotFoundError(text)


def _not_for_a_handler(letter: DeadLetter) -> CatgaError:
    text = (
        f"the dead letter {letter.id!r} came in and could not be read: no handler can be given it, purge it"
    )
    if letter.source is DeadLetterSource.PROJECTION:
        text = (
            f"the dead letter {letter.id!r} is an event that {letter.handler!r} has parked, which is a projection or a "
            f"subscription and no handler of the mediator: use app.projections.replay_parked({letter.handler!r}) or "
            f"app.subscriptions.replay_parked({letter.handler!r})"
        )
    return HandlerNotFoundError(text)


def _no_handler(letter: DeadLetter) -> CatgaError:
    text = (
        f"{letter.name} has no handler called {letter.handler} in this process: replay it in one that registers it, "
        "or purge it"
    )
    return HandlerNotFoundError(text)
