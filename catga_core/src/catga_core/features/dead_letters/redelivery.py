"""`Redelivery`: replays the dead letters of handlers, queues, outbox and transports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError, HandlerNotFoundError, LeaseLostError, Outcome, SerializationError
from catga_core.features.dead_letters.ending import Ending
from catga_core.features.dead_letters.replayers import REPLAY_HEADER, Replayers, missing
from catga_core.features.units_of_work.behavior import in_unit_of_work
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource, DeadLetterStore
from catga_core.interfaces.outbox import ToEnqueue
from catga_core.interfaces.storage import Storage
from catga_core.log import traceback_of
from catga_core.mediator import Dispatcher
from catga_core.messages import Event, Message, MessageKind, MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer

_Deliver: TypeAlias = Callable[[MessageContext], Awaitable[CatgaResult[Any]]]


class _Delivery(msgspec.Struct, frozen=True):
    deliver: _Deliver
    atomic: bool
    rehearse: _Deliver | None = None


class Redelivery:
    """Delivers the message of a dead letter again: to the handler that failed, or out of the process.

    Args:
        letters: The store.
        dispatcher: The container's dispatcher.
        serializer: The container's serializer.
        clock: The container's clock.
        registry: Knows the messages' classes and upcasters.
        storage: The container's storage.
        replayers: Tells which handlers' effects the removal of a letter joins.
        ending: Removes letters.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self,
        letters: DeadLetterStore,
        dispatcher: Dispatcher,
        serializer: Serializer,
        clock: Clock,
        registry: MessageRegistry,
        storage: Storage,
        replayers: Replayers,
        ending: Ending,
    ) -> None:
        self._letters = letters
        self._dispatcher = dispatcher
        self._serializer = serializer
        self._clock = clock
        self._registry = registry
        self._storage = storage
        self._replayers = replayers
        self._ending = ending

    async def replay(self, letter: DeadLetter, _token: int, /) -> CatgaResult[None]:
        """Redeliver a letter's message; a success removes the letter, a failure updates it."""
        try:
            # Before it counts as a replay: a handler that this process does not have is not a failure of the message.
            delivery = await self._delivery(letter)
        except CatgaError as error:
            return Failure(error)
        counted = await self._letters.replaying(letter.id)
        if counted is None:
            return Failure(missing(letter.id))
        letter = counted
        try:
            if delivery.atomic and self._ending.joins(letter):
                result = await self._in_one_transaction(letter, delivery.deliver)
            else:
                result = await delivery.deliver(_context(letter))
                if isinstance(result, Success):
                    await self._ending.end(letter)
        except _LeftError as left:
            return Failure(left.error)
        if isinstance(result, Failure):
            await self._letters.add(self._failed_again(letter, result.error))
            return Failure(result.error)
        return Success(None)

    async def rehearse(self, letter: DeadLetter, /) -> CatgaResult[Any]:
        """Redeliver a letter's message, and leave the letter as it is."""
        try:
            delivery = await self._delivery(letter)
        except CatgaError as error:
            return Failure(error)
        deliver = delivery.rehearse or delivery.deliver
        return await deliver(_context(msgspec.structs.replace(letter, replays=letter.replays + 1)))

    async def _in_one_transaction(self, letter: DeadLetter, deliver: _Deliver) -> CatgaResult[Any]:
        async def work() -> CatgaResult[Any]:
            result = await deliver(_context(letter))
            if isinstance(result, Success) and not await self._ending.end(letter):
                # Another process has replayed or purged it: nothing of this attempt may count.
                raise _LeftError(missing(letter.id))
            return result

        try:
            return await in_unit_of_work(self._storage, work)
        except LeaseLostError:
            raise
        except CatgaError as error:
            if error.outcome is Outcome.UNKNOWN:
                # It may be removed, and must not come back then.
                raise _LeftError(error) from error
            return Failure(error)

    async def _delivery(self, letter: DeadLetter) -> _Delivery:
        if not letter.format:
            text = f"The dead letter {letter.id!r} has no bytes: {letter.name} could not be serialized when it failed. Purge it."
            if letter.source is DeadLetterSource.TRANSPORT:
                text = f"The dead letter {letter.id!r} is not a message that can be read: {letter.message} Purge it."
            raise SerializationError(text)
        described, message = self._registry.decode(
            letter.name, letter.schema_version, letter.format, letter.data, self._serializer, Message
        )
        dispatcher = self._dispatcher
        here = dispatcher.handlers_of(described.cls)
        if letter.source is DeadLetterSource.OUTBOX:
            # Handed over to no handler, it would count as sent.
            if not await dispatcher.reaches(described.cls):
                raise _no_handler(letter)
            return _Delivery(self._sending(described, message), atomic=False)
        if letter.source is DeadLetterSource.TRANSPORT and isinstance(message, Event):
            if not here:
                raise _no_handler(letter)
            event = message

            async def deliver_to_all(context: MessageContext) -> CatgaResult[Any]:
                return await dispatcher.redeliver_to_all(described, event, context)

            # In a dry run a handler that fails leaves no letter of its own.
            rehearse = self._delivering(here, described, message)
            return _Delivery(deliver_to_all, atomic=False, rehearse=rehearse)
        if letter.handler not in here:
            raise _no_handler(letter)
        atomic = self._replayers.atomic(described, letter.handler)
        return _Delivery(self._delivering([letter.handler], described, message), atomic)

    def _delivering(self, handlers: Sequence[str], described: MessageType, message: Message) -> _Deliver:
        async def deliver(context: MessageContext) -> CatgaResult[Any]:
            result: CatgaResult[Any] = Success(None)
            for each in handlers:
                result = await self._dispatcher.redeliver(described, each, message, context)
                if isinstance(result, Failure):
                    break
            return result

        return deliver

    # Any: the kind of the type tells what the message is.
    def _sending(self, described: MessageType, message: Any) -> _Deliver:
        async def send(context: MessageContext) -> CatgaResult[None]:
            try:
                if described.kind is MessageKind.EVENT:
                    await self._dispatcher.hand_over(described, message, context)
                elif described.kind is MessageKind.COMMAND:
                    # Its time is over by now.
                    await self._dispatcher.enqueue(described, message, context, ToEnqueue())
                else:
                    text = f"{described.name} is neither an event nor a command: nothing sends it. Purge its dead letter."
                    return Failure(HandlerNotFoundError(text))
            except CatgaError as error:
                return Failure(error)
            return Success(None)

        return send

    def _failed_again(self, letter: DeadLetter, error: CatgaError) -> DeadLetter:
        return msgspec.structs.replace(
            letter,
            code=error.code,
            message=error.message,
            traceback=traceback_of(error.__cause__),
            attempts=1,
            last_failed_at=self._clock.time(),
        )


class _LeftError(Exception):
    """The letter is left as it is, and nothing of this attempt is committed by its transaction."""

    def __init__(self, error: CatgaError) -> None:
        super().__init__(error.message)
        self.error = error


def _context(letter: DeadLetter) -> MessageContext:
    headers = MappingProxyType({**letter.context.headers, REPLAY_HEADER: str(letter.replays)})
    return msgspec.structs.replace(letter.context, headers=headers, deadline=None)


def _no_handler(letter: DeadLetter) -> CatgaError:
    named = f" {letter.handler}" if letter.handler else ""
    text = (
        f"{letter.name} has no handler{named} in this process. Replay it in a process that registers the "
        "handler, or purge it."
    )
    return HandlerNotFoundError(text)
