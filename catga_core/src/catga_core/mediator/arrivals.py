"""Messages that come in by a transport: the same pipelines, in the context that came with them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from catga_core.errors import CatgaError, ErrorCode
from catga_core.mediator.delivery import FailedDeliveries, deliver_arrived, deliver_to
from catga_core.mediator.preparing import not_built
from catga_core.mediator.routes import NotPrepared, RouteSource
from catga_core.messages import MessageKind, MessageType
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.way import Chain


class Arrival(NamedTuple):
    """How one message type is handled when it comes in.

    Parameters:
        may_suspend: whether handling may wait.
        call: handles a message; a request's gives its result, and raises nothing but cancellation.
    """

    may_suspend: bool
    call: Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]


class Arrivals:
    """Finds the way of each message type that comes in, once until something changes.

    Parameters:
        source: knows the pipelines.
        failed: told of each event handler that fails.
        ended: tells whether the mediator takes nothing any more.
    """

    __slots__ = ("_ended", "_failed", "_known", "_source", "running")

    def __init__(self, source: RouteSource, failed: FailedDeliveries, ended: Callable[[], bool]) -> None:
        self._source = source
        self._failed = failed
        self._ended = ended
        self._known: dict[type[Any], Arrival] = {}
        self.running: int = 0

    def forget(self) -> None:
        """Find every way anew when it is next asked for."""
        self._known.clear()

    def of(self, described: MessageType) -> Arrival:
        """Return how a message type is handled now.

        Parameters:
            described: a request or event of this process.
        """
        try:
            return self._known[described.cls]
        except KeyError:
            return self._find(described)

    def _find(self, described: MessageType) -> Arrival:
        if self._ended():
            return Arrival(may_suspend=False, call=_refuse(described, self._source.service_name))
        try:
            if described.kind is MessageKind.EVENT:
                found = self._event(described)
            else:
                found = self._request(described)
        except NotPrepared:
            return Arrival(may_suspend=True, call=self._prepare(described))
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            return Arrival(described.kind is MessageKind.EVENT, self._fail(described, error))
        self._known[described.cls] = found
        return found

    def _request(self, described: MessageType) -> Arrival:
        route = self._source.request_route(described.cls)
        if route is None:
            return Arrival(may_suspend=False, call=_refuse(described, self._source.service_name))
        chain, may_suspend = route.pipeline.chain, route.pipeline.may_suspend
        if not route.context and not may_suspend:
            return Arrival(may_suspend, _without_context(chain))
        return Arrival(may_suspend, self._in_context(chain))

    def _event(self, described: MessageType) -> Arrival:
        routes = self._source.event_routes(described.cls)
        keep = self._source.keep_failed
        quick = deliver_arrived(routes, self._failed) if keep is None else None
        if quick is not None:
            return Arrival(may_suspend=False, call=quick)
        # Keeping what failed is waiting, too.
        may_suspend = keep is not None or any(route.pipeline.may_suspend for route in routes)
        # With its context, so that the line of a failing handler says which event it was.
        return Arrival(may_suspend, self._in_context(deliver_to(routes, self._failed, keep)))

    def _in_context(
        self, handle: Callable[[Any], Coroutine[Any, Any, Any]]
    ) -> Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]:
        enter, leave = active_context.set, active_context.reset

        async def call(message: Any, context: MessageContext) -> Any:
            self.running += 1
            token = enter(context)
            try:
                return await handle(message)
            finally:
                leave(token)
                self.running -= 1

        return call

    def _fail(
        self, described: MessageType, error: Exception
    ) -> Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]:
        async def call(message: Any, context: MessageContext) -> Any:
            failed: Failure[Any] = Failure(not_built(described, error))
            if described.kind is not MessageKind.EVENT:
                return failed
            keep = self._source.keep_failed
            token = active_context.set(context)
            try:
                self._failed.record(message, "its handlers", failed)
                if keep is not None:
                    for handler in self._source.handlers_of(described.cls):
                        await keep(message, handler, failed)
            finally:
                active_context.reset(token)
            return None

        return call

    def _prepare(self, described: MessageType) -> Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]:
        async def call(message: Any, context: MessageContext) -> Any:
            try:
                await self._source.prepare()
            except Exception as error:  # noqa: BLE001 - as above
                return await self._fail(described, error)(message, context)
            return await self.of(described).call(message, context)

        return call


def _without_context(chain: Chain) -> Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]:
    def handle(message: Any, _context: MessageContext) -> Coroutine[Any, Any, CatgaResult[Any]]:
        return chain(message)

    return handle


def _refuse(
    described: MessageType, service: str
) -> Callable[[Any, MessageContext], Coroutine[Any, Any, Any]]:
    async def call(_message: Any, _context: MessageContext) -> CatgaResult[Any]:
        # An error of its own for each message: raised by unwrap(), a shared one would gather their tracebacks.
        error = CatgaError(
            f"{described.name} was not handled: {service} has stopped; another replica may take it",
            code=ErrorCode.TRANSPORT_FAILED,
            details={"outcome": "not_started"},
        )
        return Failure(error)

    return call
