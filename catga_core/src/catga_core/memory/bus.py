"""The in-process bus: who listens for what, shared by every container of a process that names it."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections import deque
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from catga_core.errors import CatgaError, ConcurrencyLimitError, InternalError, Outcome, TransportError
from catga_core.interfaces.transport import EventEndpoint, RequestEndpoint, StreamEndpoint
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, logger, traceback_of
from catga_core.memory.streams import StreamListener
from catga_core.messages import MessageType, message_type
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.message_context import MessageContext
from catga_core.messages.older import Conversion, conversion
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import failure_of
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself, passes_through
from catga_core.runtime.deliveries import cancelled_by_handler
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.intake import Intake

L = TypeVar("L", "Listener", StreamListener)

Answer = asyncio.Future[CatgaResult[Any]]
Asked = tuple[Any, MessageContext, Answer]
Delivery = tuple[Any, MessageContext]


class Listener:
    """One endpoint on the bus, and the work it is doing; that work belongs to the container that listens.

    Args:
        endpoint: What handles the messages.
        limit: How many messages it may handle at the same time.
        bodies: The format and the upcasters of its container.
    """

    __slots__ = ("_deliveries", "bodies", "endpoint", "home", "intake")

    def __init__(self, endpoint: Any, limit: int, bodies: BodyCodec) -> None:
        self.endpoint: Any = endpoint
        self.bodies: BodyCodec = bodies
        self.home: HomeLoop = HomeLoop()
        self.home.enter()
        self.intake: Intake[Asked] = Intake(limit, self._answer, self._unanswered, self._refuse)
        self._deliveries: Intake[Delivery] = Intake(limit, self._deliver, self._undelivered, _wait)

    @property
    def running(self) -> int:
        """How many messages it has accepted and not finished."""
        return self.intake.running + self._deliveries.running

    def ask(self, message: Any, context: MessageContext) -> Answer:
        """Handle a request in a task of the listener; a sender that stops waiting for the answer cancels nothing."""
        answer: Answer = asyncio.get_running_loop().create_future()
        self.intake.put((message, context, answer))
        self.intake.start()
        return answer

    def tell(self, event: Any, context: MessageContext) -> None:
        """Handle an event in a task of the listener, when the limit allows it."""
        self._deliveries.put((event, context))

    async def drain(self, timeout: float) -> None:
        """Finish everything within so many seconds, then cancel the rest.

        Args:
            timeout: Seconds.
        """
        requests, events = await asyncio.gather(self.intake.drain(timeout), self._deliveries.drain(timeout))
        for _, _, answer in requests:
            text = f"{self.endpoint.message_type.name} was not started: the container that handles it stops"
            _set(answer, Failure(TransportError(text, outcome=Outcome.NOT_STARTED)))
        for _, context in events:
            self._log_cancelled(context)

    def _answer(self, asked: Asked) -> Coroutine[Any, Any, None]:
        return self._handle(*asked)

    def _unanswered(self, asked: Asked, error: BaseException) -> None:
        _, context, answer = asked
        self._failed(error, context)
        _set(answer, Failure(self._broken()))

    def _refuse(self, waiting: deque[Asked]) -> None:
        while waiting:
            _, _, answer = waiting.popleft()
            _set(answer, Failure(ConcurrencyLimitError(self.endpoint.message_type.name, self.intake.limit)))

    def _deliver(self, delivery: Delivery) -> Coroutine[Any, Any, object]:
        handling: Coroutine[Any, Any, object] = self.endpoint.handle(*delivery)
        return handling

    def _undelivered(self, delivery: Delivery, error: BaseException) -> None:
        _, context = delivery
        if isinstance(error, asyncio.CancelledError) and being_cancelled() and not cancelled_by_handler():
            self._log_cancelled(context)
        else:
            # An endpoint never raises; should one, the others go on.
            self._failed(error, context)

    async def _handle(self, message: Any, context: MessageContext, answer: Answer) -> None:
        name = self.endpoint.message_type.name
        result: CatgaResult[Any]
        try:
            result = await self.endpoint.handle(message, context)
        except asyncio.CancelledError as error:
            if not being_cancelled() or cancelled_by_handler():
                self._failed(error, context)
                result = Failure(cancelled_itself(name))
            else:
                text = f"{name} was cancelled: the container that handled it stops, and how far it came is unknown"
                result = Failure(TransportError(text, outcome=Outcome.UNKNOWN))
        except Exception as error:  # noqa: BLE001 - an endpoint never raises; should one, its sender gets an answer
            self._failed(error, context)
            result = Failure(self._broken())
        except BaseException as error:
            # What ends the program is raised on; the sender does not wait for its deadline.
            self._failed(error, context)
            result = failure_of(error, name)
            if passes_through(error):
                _set(answer, result)
                raise
        _set(answer, result)

    def _broken(self) -> CatgaError:
        name = self.endpoint.message_type.name
        return InternalError(f"{name} failed inside its receiver: see the receiver's log")

    def _log_cancelled(self, context: MessageContext) -> None:
        described = str(self.endpoint.message_type)
        logger().warning(MESSAGE_CANCELLED, message=described, message_id=context.message_id)

    def _failed(self, error: BaseException, context: MessageContext) -> None:
        logger().error(
            MESSAGE_FAILED,
            message=str(self.endpoint.message_type),
            message_id=context.message_id,
            error=type(error).__name__,
            stack=traceback_of(error),
        )


def _set(answer: Answer, result: CatgaResult[Any]) -> None:
    if not answer.done():
        answer.set_result(result)


def _wait(_events: deque[Delivery]) -> None:
    """Let events wait: an event has no sender to answer."""


class LocalBus:
    """Connects the containers of one process; made by `local_bus(name)`."""

    def __init__(self) -> None:
        self._requests: dict[type[Any], list[Listener]] = {}
        self._events: dict[type[Any], dict[str, list[Listener]]] = {}
        self._streams: dict[type[Any], list[StreamListener]] = {}
        self._turns: Iterator[int] = itertools.count()

    def listen_for_request(self, endpoint: RequestEndpoint, limit: int, bodies: BodyCodec) -> Listener:
        """Add one more handler of a request; those of one request take turns."""
        listener = Listener(endpoint, limit, bodies)
        self._requests.setdefault(endpoint.message_type.cls, []).append(listener)
        return listener

    def listen_for_event(
        self, endpoint: EventEndpoint, service: str, limit: int, bodies: BodyCodec
    ) -> Listener:
        """Add one more listener of an event; those of one service take turns."""
        listener = Listener(endpoint, limit, bodies)
        self._events.setdefault(endpoint.message_type.cls, {}).setdefault(service, []).append(listener)
        return listener

    def listen_for_stream(self, endpoint: StreamEndpoint, limit: int, bodies: BodyCodec) -> StreamListener:
        """Add one more handler of a stream query; those of one query take turns."""
        listener = StreamListener(endpoint, limit, bodies)
        self._streams.setdefault(endpoint.message_type.cls, []).append(listener)
        return listener

    def leave(self, listener: Listener | StreamListener) -> None:
        """Take a listener away; a second time does nothing."""
        cls = listener.endpoint.message_type.cls
        groups: list[list[Any]] = [
            self._requests.get(cls, []),
            self._streams.get(cls, []),
            *self._events.get(cls, {}).values(),
        ]
        for group in groups:
            if listener in group:
                group.remove(listener)

    def handler_of(self, cls: type[Any]) -> Listener | None:
        """Return the listener whose turn it is to handle a request, `None` where there is none."""
        return self._turn(self._requests.get(cls))

    def handler_of_older(self, older: MessageType) -> tuple[Listener, Conversion] | None:
        """Return the listener for a newer version of a request, with the way there; `None` where there is none.

        Args:
            older: What was sent, which no listener handles as it is.
        """
        return self._older(self._requests, older)

    def stream_of(self, cls: type[Any]) -> StreamListener | None:
        """Return the listener whose turn it is to handle a stream query, `None` where there is none."""
        return self._turn(self._streams.get(cls))

    def stream_of_older(self, older: MessageType) -> tuple[StreamListener, Conversion] | None:
        """Return the listener for a newer version of a stream query, as `handler_of_older`."""
        return self._older(self._streams, older)

    def _older(self, groups: dict[type[Any], list[L]], older: MessageType) -> tuple[L, Conversion] | None:
        for cls, group in groups.items():
            newer = message_type(cls)
            for candidate in group:
                found = conversion(older, newer, candidate.bodies)
                if found is not None and (listener := self._turn(group)) is not None:
                    return listener, found
        return None

    def listeners_of(self, cls: type[Any]) -> list[Listener]:
        """Return one listener of each service that listens for an event."""
        turns = (self._turn(group) for group in self._events.get(cls, {}).values())
        return [listener for listener in turns if listener is not None]

    def _turn(self, group: list[L] | None) -> L | None:
        if not group:
            return None
        listener = group[next(self._turns) % len(group)]
        loop = listener.home.loop
        if loop is not None and loop.is_closed():
            # Its container was never stopped.
            group.remove(listener)
            return self._turn(group)
        return listener


# A bus lives as long as someone is on it, so that one test's bus is not the next one's.
_buses: weakref.WeakValueDictionary[str, LocalBus] = weakref.WeakValueDictionary()


def local_bus(name: str = "default") -> LocalBus:
    """Return the bus of this name in this process.

    Args:
        name: Any text; containers that give the same are connected.
    """
    bus = _buses.get(name)
    if bus is None:
        bus = _buses[name] = LocalBus()
    return bus
