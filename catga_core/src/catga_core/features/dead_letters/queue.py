"""`DeadLetterQueue`: lists, replays and purges dead letters."""

from __future__ import annotations

from collections.abc import Sequence
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
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.interfaces.outbox import ToEnqueue
from catga_core.interfaces.storage import Storage
from catga_core.log import LETTER_REPLAYED, logger, traceback_of
from catga_core.mediator import Dispatcher
from catga_core.messages import Event, Message, MessageType, Request
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer
from catga_core.option_checks import MOST_COUNT, check_count

REPLAY_HEADER = "catga-replay"
"""Header of a replayed event in `current_context().headers`: number of the replay, `"1"` for the first one."""

_LEASE_SECONDS = 60.0
_OF_HANDLERS = frozenset({DeadLetterSource.HANDLER, DeadLetterSource.QUEUE})
_REPLAYABLE = _OF_HANDLERS | {DeadLetterSource.OUTBOX, DeadLetterSource.TRANSPORT}


class ReplayReport(msgspec.Struct, frozen=True):
    """The outcome of replaying several dead letters.

    Args:
        succeeded: How many were handled, and removed.
        failed: The errors of the others, by their ids.
    """

    succeeded: int
    failed: dict[str, CatgaError]


class DeadLetterQueue:
    """The container's dead letters, for operators.

    Args:
        letters: The store.
        dispatcher: The container's dispatcher.
        serializer: The container's serializer.
        clock: The container's clock.
        locks: Keep two processes from replaying one dead letter at the same time.
        registry: Knows the messages' classes and upcasters.
        storage: The container's storage: what ends a dead letter is written in one transaction.
        transport: Holds the keys of dead letters; `None` where the container has no queues.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self,
        letters: DeadLetterStore,
        dispatcher: Dispatcher,
        serializer: Serializer,
        clock: Clock,
        locks: Locks,
        registry: MessageRegistry,
        storage: Storage,
        transport: DurableTransport | None = None,
    ) -> None:
        self._letters = letters
        self._dispatcher = dispatcher
        self._serializer = serializer
        self._clock = clock
        self._locks = locks
        self._registry = registry
        self._storage = storage
        self._transport = transport

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
        held = await self._held_by(filter)
        purged = await self._letters.purge(filter)
        for queue, key in held:
            await self._release(queue, key)
        return purged

    async def replay(self, letter_id: str, /) -> CatgaResult[None]:
        """Redeliver a message to the handler that failed, and to no other, through its whole pipeline.

        The message keeps its message id and gets the header `catga-replay`. A success removes the dead letter, another
        failure updates it. Messages of its key that a queue holds are then handled in their order. A message that the outbox
        relay gave up is sent. An event that could not be decoded is decoded again and delivered to every handler here; a handler
        that fails gets a dead letter of its own. Delivery is at least once: a process that dies
        between the handler's end and the removal leaves the dead letter. Events that a projection or subscription has
        parked are replayed with their own `replay_parked`.

        Args:
            letter_id: The dead letter's id.

        Returns:
            The handler's result, or a failure: `LOCKED` while another process replays it, or if this replay lost its
            lease; `HANDLER_NOT_FOUND` for an unknown id, a handler that this process does not have, or a parked event.
        """
        result: CatgaResult[None]
        try:
            async with self._locks.try_hold(f"catga-dead-letter:{letter_id}", lease=_LEASE_SECONDS) as lock:
                if lock is None:
                    text = f"The dead letter {letter_id!r} is being replayed by another process. Try again later."
                    return Failure(LockedError(text))
                result = await self._replay(letter_id)
        except LeaseLostError as lost:
            # The handler was cancelled; the dead letter stays for the next replay.
            result = Failure(lost)
        if isinstance(result, Failure):
            logger().info(LETTER_REPLAYED, letter_id=letter_id, outcome="failed", code=result.error.code)
        else:
            logger().info(LETTER_REPLAYED, letter_id=letter_id, outcome="handled")
        return result

    async def replay_all(self, filter: DeadLetterFilter = ALL_LETTERS, /) -> ReplayReport:
        """Replay every dead letter that matches a filter, one after the other, oldest first.

        Each one is replayed once, even if it fails again.

        Args:
            filter: Which dead letters.

        Returns:
            How many succeeded, and the errors of the others.
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
            # Before it counts as a replay: a handler that this process does not have is not a failure of the message.
            described, message = self._read(letter)
        except CatgaError as error:
            return Failure(error)
        if not await self._can_deliver(letter, described):
            return Failure(_no_handler(letter))
        letter = await self._letters.replaying(letter_id)
        if letter is None:
            return Failure(_missing(letter_id))
        result = await self._deliver(letter, described, message)
        if isinstance(result, Failure):
            await self._letters.add(self._failed_again(letter, result.error))
            return Failure(result.error)
        await self._end(letter)
        return Success(None)

    async def _end(self, letter: DeadLetter) -> None:
        """Remove a letter whose message was handled, and release its key."""
        if letter.key is None or self._transport is None:
            await self._letters.remove(letter.id)
        elif self._transport.capabilities.transactional:
            async with self._storage.unit_of_work():
                await self._letters.remove(letter.id)
                # Where writes are collected, the removal is not seen yet.
                await self._release(letter.queue, letter.key, but=letter.id)
        else:
            # A crash between the two replays the message once more, and never leaves a key held without a letter.
            await self._release(letter.queue, letter.key, but=letter.id)
            await self._letters.remove(letter.id)

    async def _release(self, queue: str, key: str, *, but: str = "") -> None:
        if self._transport is None:
            return
        rest = await self._letters.find(DeadLetterFilter(queue=queue, key=key), limit=2)
        if all(each.id == but for each in rest.letters):
            await self._transport.release_key(queue, key)

    async def _held_by(self, filter: DeadLetterFilter) -> Sequence[tuple[str, str]]:
        found: dict[tuple[str, str], None] = {}
        after: str | None = None
        while True:
            page = await self._letters.find(filter, after=after)
            found.update({(each.queue, each.key): None for each in page.letters if each.key is not None})
            if page.next is None:
                return list(found)
            after = page.next

    def _read(self, letter: DeadLetter) -> tuple[MessageType, Message]:
        if letter.source not in _REPLAYABLE:
            raise _not_for_a_handler(letter)
        if not letter.format:
            text = f"The dead letter {letter.id!r} has no bytes: {letter.name} could not be serialized when it failed. Purge it."
            if letter.source is DeadLetterSource.TRANSPORT:
                text = f"The dead letter {letter.id!r} is not a message that can be read: {letter.message} Purge it."
            raise SerializationError(text)
        return self._registry.decode(
            letter.name, letter.schema_version, letter.format, letter.data, self._serializer, Message
        )

    async def _can_deliver(self, letter: DeadLetter, described: MessageType) -> bool:
        if letter.source in _OF_HANDLERS:
            return letter.handler in self._dispatcher.handlers_of(described.cls)
        # Handed over to no handler, it would count as sent.
        if letter.source is DeadLetterSource.TRANSPORT:
            return bool(self._dispatcher.handlers_of(described.cls))
        return await self._dispatcher.reaches(described.cls)

    async def _deliver(
        self, letter: DeadLetter, described: MessageType, message: Message
    ) -> CatgaResult[Any]:
        headers = MappingProxyType({**letter.context.headers, REPLAY_HEADER: str(letter.replays)})
        context = msgspec.structs.replace(letter.context, headers=headers, deadline=None)
        if letter.source in _OF_HANDLERS:
            return await self._dispatcher.redeliver(described, letter.handler, message, context)
        if letter.source is DeadLetterSource.TRANSPORT and isinstance(message, Event):
            return await self._dispatcher.redeliver_to_all(described, message, context)
        try:
            if isinstance(message, Event):
                await self._dispatcher.hand_over(described, message, context)
            elif isinstance(message, Request):
                # Its time is over by now.
                await self._dispatcher.enqueue(described, message, context, ToEnqueue())
            else:
                return Failure(_not_for_a_handler(letter))
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
    text = f"The dead letter {letter_id!r} does not exist. It was replayed or purged, or the id is wrong."
    return HandlerNotFoundError(text)


def _not_for_a_handler(letter: DeadLetter) -> CatgaError:
    text = (
        f"The dead letter {letter.id!r} is an event that the projection or subscription {letter.handler!r} has "
        f"parked. Use app.projections.replay_parked({letter.handler!r}) or "
        f"app.subscriptions.replay_parked({letter.handler!r})."
    )
    return HandlerNotFoundError(text)


def _no_handler(letter: DeadLetter) -> CatgaError:
    named = f" {letter.handler}" if letter.handler else ""
    text = (
        f"{letter.name} has no handler{named} in this process. Replay it in a process that registers the "
        "handler, or purge it."
    )
    return HandlerNotFoundError(text)
