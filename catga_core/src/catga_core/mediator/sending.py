"""The ways of requests: to the handler here, or to another process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from catga_core.errors import CatgaError, ErrorCode
from catga_core.mediator.gate import Gate
from catga_core.mediator.options import SendOptions, begin_context_with
from catga_core.mediator.preparing import not_built, route_to
from catga_core.mediator.refusals import REQUESTS, answer, expect, no_handler
from catga_core.mediator.routes import NotPrepared, Route, RouteSource
from catga_core.messages import MessageType, Request, message_type
from catga_core.messages.context import begin_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import Dispatch, deadline_passed
from catga_core.pipeline.way import Chain


class Sending:
    """Finds the way of each request type, once until something changes.

    `ways` is what has been found; whoever sends looks there first.

    Parameters:
        source: knows the pipelines and the transport.
        gate: tells whether requests are taken.
    """

    __slots__ = ("_dispatches", "_gate", "_retired", "_source", "ways")

    def __init__(self, source: RouteSource, gate: Gate) -> None:
        self._source = source
        self._gate = gate
        self.ways: dict[type[Any], Chain] = {}
        self._dispatches: dict[type[Any], Dispatch] = {}
        self._retired: list[Dispatch] = []

    @property
    def in_flight(self) -> int:
        """How many requests are on ways that count them themselves."""
        self._retired = [dispatch for dispatch in self._retired if dispatch.in_flight]
        return sum(dispatch.in_flight for dispatch in (*self._dispatches.values(), *self._retired))

    def forget(self) -> None:
        """Find every way anew when it is next asked for."""
        for dispatch in self._dispatches.values():
            # Senders hold it, and coroutines of messages that have been sent and not yet begun.
            dispatch.redirect(self._send_again)
        self._retired.extend(dispatch for dispatch in self._dispatches.values() if dispatch.in_flight)
        self.ways.clear()
        self._dispatches.clear()

    def find(self, request: object) -> Chain:
        """Find the way of a request whose type has none yet.

        Raises:
            TypeError: for anything that is not a command or a query.
        """
        return self._find(expect(type(request), REQUESTS, "send() takes a Command or a Query"))

    def lasting(self, described: MessageType) -> Chain:
        """Return a way to a request type that stays right whatever changes."""
        call = self.ways.get(described.cls) or self._find(described)
        dispatch = self._dispatches.get(described.cls)
        # What has no way that can be laid anew is looked up for each message.
        return self._send_again if dispatch is None or dispatch.call is not call else call

    async def send_with(self, request: Request[Any], options: SendOptions) -> CatgaResult[Any]:
        """Send a request with what the caller said beside it."""
        described = expect(type(request), REQUESTS, "send() takes a Command or a Query")
        context = begin_context_with("send", options, self._source.clock)
        refusal = self._gate.refusal(described)
        if refusal is not None:
            return Failure(refusal)
        try:
            route = await route_to(self._source, described, self._source.request_route)
        except CatgaError as error:
            return Failure(error)
        left = None if context.deadline is None else context.deadline - self._source.clock.time()
        if left is not None and left <= 0:
            return Failure(deadline_passed(described.name))
        if route is not None:
            return await self._run_within(left, route, request, context)
        transport = self._source.transport
        if transport is None:
            return Failure(no_handler(described, self._source.service_name))
        # A transport keeps the deadline itself, and knows how far the request has come.
        return await transport.request(described, request, context)

    async def _run_within(
        self, left: float | None, route: Route, request: Request[Any], context: MessageContext
    ) -> CatgaResult[Any]:
        if left is None:
            return await self._gate.run(route, request, context)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await self._gate.run(route, request, context)
        except TimeoutError:
            if not limit.expired():
                raise
            name = message_type(type(request)).name
            text = f"{name} was not answered within its {left:.3g} s; whether it took effect is unknown"
            return Failure(CatgaError(text, code=ErrorCode.TIMEOUT, details={"outcome": "unknown"}))

    def _find(self, described: MessageType) -> Chain:
        refusal = self._gate.refusal(described)
        if refusal is not None:
            return answer(lambda: refusal)
        source = self._source
        try:
            route = source.request_route(described.cls)
            transport = source.transport if route is None else None
        except NotPrepared:
            return self._prepare_and_send
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            failed = not_built(described, error)
            return answer(lambda: failed)
        if route is not None:
            dispatch = Dispatch(route.pipeline, context=route.context, now=source.clock.time)
            call: Chain = dispatch.call
            if self._gate.is_open:
                self._dispatches[described.cls] = dispatch
        elif transport is not None:
            request_remote = transport.request

            def call_remote(request: Any) -> Coroutine[Any, Any, CatgaResult[Any]]:
                return request_remote(described, request, begin_context())

            call = call_remote
        else:
            call = answer(lambda: no_handler(described, source.service_name))
        if not self._gate.is_open:
            # While stopping, each message has to be looked at: only those that belong to running work go through.
            return self._gate.counting(call)
        self.ways[described.cls] = call
        return call

    async def _send_again(self, request: object) -> CatgaResult[Any]:
        return await (self.ways.get(type(request)) or self.find(request))(request)

    async def _prepare_and_send(self, request: Request[Any]) -> CatgaResult[Any]:
        try:
            await self._source.prepare()
        except Exception as error:  # noqa: BLE001 - an override's factory that fails is this message's failure
            return Failure(not_built(message_type(type(request)), error))
        return await self._send_again(request)
