"""The ways of requests out of the caller: to the handler here, or to another process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from catga_core.errors import CatgaError, Outcome, RequestTimeoutError
from catga_core.interfaces.transport import RequestTransport
from catga_core.mediator.dispatcher import Dispatcher
from catga_core.mediator.older import OlderRequest
from catga_core.mediator.options import SendOptions, begin_context_with
from catga_core.mediator.preparing import not_built, prepared
from catga_core.mediator.recording import current_recording
from catga_core.mediator.refusals import REQUESTS, answer, expect, no_handler
from catga_core.mediator.routes import NotPrepared, RouteSource
from catga_core.messages import MessageKind, MessageType, Request, message_type
from catga_core.messages.context import begin_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import Chain, Dispatch, deadline_passed

_SendIn: TypeAlias = Callable[[Any, MessageContext], Awaitable[CatgaResult[Any]]]


class Sending:
    """Finds how each request type is sent, once until something changes.

    Args:
        source: Knows the transport.
        dispatcher: Handles what is handled here.

    Attributes:
        calls: How each type is sent without options; looked up first.
    """

    __slots__ = ("_dispatcher", "_gate", "_source", "_with_options", "calls")

    def __init__(self, source: RouteSource, dispatcher: Dispatcher) -> None:
        self._source = source
        self._dispatcher = dispatcher
        self._gate = dispatcher.gate
        self.calls: dict[type[Any], Chain] = {}
        self._with_options: dict[type[Any], tuple[_SendIn, bool]] = {}

    def forget(self) -> None:
        """Find everything again when it is next needed."""
        self.calls.clear()
        self._with_options.clear()

    def find(self, request: object) -> Chain:
        """Find how a request is sent whose type was not sent yet.

        Raises:
            TypeError: For anything that is not a command or a query.
        """
        return self._find(expect(type(request), REQUESTS, "send() takes a Command or a Query"))

    async def send_with(self, request: Request[Any], options: SendOptions) -> CatgaResult[Any]:
        """Send a request with options."""
        described = expect(type(request), REQUESTS, "send() takes a Command or a Query")
        context = begin_context_with("send", options, self._source.clock)
        known = self._with_options.get(described.cls)
        refusal = self._gate.elsewhere(described) or (
            self._gate.refusal(described) if known is None else None
        )
        if refusal is not None:
            return Failure(refusal)
        if known is None:
            try:
                known = await self._find_with_options(described)
            except CatgaError as error:
                return Failure(error)
        send, here = known
        if context.deadline is None or not here:
            # A transport keeps the deadline itself, and knows how far the request has come.
            return await send(request, context)
        left = context.deadline - self._source.clock.time()
        if left <= 0:
            return Failure(deadline_passed(type(request).__name__))
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await send(request, context)
        except TimeoutError:
            if not limit.expired():
                raise
            return Failure(_timed_out(type(request), left))

    async def send_again(self, request: object) -> CatgaResult[Any]:
        """Send a request whose coroutine was created before something has changed."""
        return await (self.calls.get(type(request)) or self.find(request))(request)

    def _find(self, described: MessageType) -> Chain:
        refusal = self._gate.refusal(described)
        if refusal is not None:
            return answer(lambda: refusal)
        if self._gate.elsewhere(described) is not None:
            return self.send_here
        source = self._source
        try:
            dispatch, transport, older = self._ways(described)
        except NotPrepared:
            return self._prepare_and_send
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            failed = not_built(described, error)
            return answer(lambda: failed)
        if dispatch is not None:
            call: Chain = dispatch.send
        elif transport is not None:
            call = _remote(described, transport)
            if self._records(described):
                call = _recording(call)
        elif older is not None:
            call = older.send
        else:
            namesake = source.namesake(described)
            call = answer(lambda: no_handler(described, source.service_name, namesake))
        if not self._gate.is_open:
            # While draining, each message is looked at: only those that belong to running work go through.
            return self._gate.counting(call)
        self.calls[described.cls] = call
        return call

    async def send_here(self, request: Request[Any]) -> CatgaResult[Any]:
        """Send a request if the event loop that runs this coroutine is the container's; it may have been created in another."""
        refusal = self._gate.elsewhere(message_type(type(request)))
        return await self.send_again(request) if refusal is None else Failure(refusal)

    async def _find_with_options(self, described: MessageType) -> tuple[_SendIn, bool]:
        """Return what sends a request in a context that is given, and whether it is handled here.

        Raises:
            CatgaError: When nothing handles it, or something it needs cannot be created.
        """
        source = self._source
        try:
            dispatch, transport, older = await prepared(source, lambda: self._ways(described))
        except CatgaError:
            raise
        except Exception as error:
            raise not_built(described, error) from error
        if dispatch is not None:
            found: tuple[_SendIn, bool] = (dispatch.handle, True)
        elif transport is not None:
            send_in = _remote_in(described, transport)
            if self._records(described):
                send_in = _recording_in(send_in)
            found = (send_in, False)
        elif older is not None:
            found = (older.handle, True)
        else:
            raise no_handler(described, source.service_name, source.namesake(described))
        if self._gate.is_open:
            self._with_options[described.cls] = found
        return found

    def _ways(
        self, described: MessageType
    ) -> tuple[Dispatch | None, RequestTransport | None, OlderRequest | None]:
        """Return where a request is handled: here, elsewhere, or here by the handler of a newer version."""
        source, dispatcher = self._source, self._dispatcher
        dispatch = dispatcher.request_dispatch(described.cls)
        if dispatch is not None:
            return dispatch, None, None
        transport = source.request_transport
        way = source.newer_request(described) if transport is None else None
        newer = None if way is None else dispatcher.request_dispatch(way.newer.cls)
        return None, transport, None if way is None or newer is None else OlderRequest(way, newer)

    def _records(self, described: MessageType) -> bool:
        # A query changes nothing, and a handler needs its answer.
        return bool(self._dispatcher.recordings) and described.kind is MessageKind.COMMAND

    async def _prepare_and_send(self, request: Request[Any]) -> CatgaResult[Any]:
        try:
            await self._source.prepare()
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            return Failure(not_built(message_type(type(request)), error))
        return await self.send_again(request)


def _remote(described: MessageType, transport: RequestTransport) -> Chain:
    request_remote = transport.request

    def call(request: Any) -> Coroutine[Any, Any, CatgaResult[Any]]:
        return request_remote(described, request, begin_context())

    return call


def _remote_in(described: MessageType, transport: RequestTransport) -> _SendIn:
    request_remote = transport.request

    def call(request: Any, context: MessageContext) -> Coroutine[Any, Any, CatgaResult[Any]]:
        return request_remote(described, request, context)

    return call


def _recording(call: Chain) -> Chain:
    async def record_or_send(request: Any) -> CatgaResult[Any]:
        recording = current_recording()
        return await call(request) if recording is None else recording.send(request, begin_context())

    return record_or_send


def _recording_in(send: _SendIn) -> _SendIn:
    async def record_or_send(request: Any, context: MessageContext) -> CatgaResult[Any]:
        recording = current_recording()
        return await send(request, context) if recording is None else recording.send(request, context)

    return record_or_send


def _timed_out(cls: type[Any], seconds: float) -> CatgaError:
    return RequestTimeoutError(
        f"{message_type(cls).name} was cancelled: it was not answered within its timeout of {seconds:.3g} s. It may have "
        "taken effect; check before you retry.",
        outcome=Outcome.UNKNOWN,
    )
