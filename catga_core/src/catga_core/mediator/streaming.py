"""The ways of stream queries: to the handler here, to another process, or here to the handler of a newer version."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from catga_core.errors import CatgaError
from catga_core.mediator.gate import Gate
from catga_core.mediator.preparing import not_built, prepared, route_to
from catga_core.mediator.refusals import no_handler, stopped
from catga_core.mediator.routes import Route, RouteSource
from catga_core.mediator.streams import run_stream
from catga_core.messages import MessageType
from catga_core.messages.message_context import MessageContext
from catga_core.messages.older import Conversion
from catga_core.messages.results import Success

OpenStream: TypeAlias = Callable[[Any, MessageContext], AsyncGenerator[Any, None]]
"""Opens a stream for a query, in a context that is given."""


async def way_of_stream(source: RouteSource, described: MessageType) -> OpenStream:
    """Return what opens the streams of a query type.

    Args:
        source: Knows the handlers and the transport.
        described: The stream query's type.

    Raises:
        CatgaError: When nothing handles it, or something it needs cannot be created.
    """
    try:
        return await prepared(source, lambda: _find(source, described))
    except CatgaError:
        raise
    except Exception as error:
        raise not_built(described, error) from error


def _find(source: RouteSource, described: MessageType) -> OpenStream:
    route = source.stream_route(described.cls)
    if route is not None:
        return _here(source, route)
    transport = source.stream_transport
    if transport is not None:
        return lambda query, context: transport.stream(described, query, context)
    way = source.newer_request(described)
    newer = None if way is None else source.stream_route(way.newer.cls)
    if way is None or newer is None:
        raise no_handler(described, source.service_name, source.namesake(described))
    return _older(source, way, newer)


def _here(source: RouteSource, route: Route) -> OpenStream:
    return lambda query, context: run_stream(route, query, context, source.clock)


def _older(source: RouteSource, way: Conversion, route: Route) -> OpenStream:
    async def stream(query: Any, context: MessageContext) -> AsyncGenerator[Any, None]:
        newer = way.message(query)
        async with aclosing(run_stream(route, newer, context, source.clock)) as items:
            async for item in items:
                yield way.result(Success(item)).unwrap()

    return stream


class Streams:
    """One stream query type that is handled here: a `StreamEndpoint`.

    Args:
        described: The stream query's type.
        source: Knows its handler.
        gate: Counts what runs.
    """

    __slots__ = ("_gate", "_source", "message_type")

    validates = True

    def __init__(self, described: MessageType, source: RouteSource, gate: Gate) -> None:
        self.message_type: MessageType = described
        self._source = source
        self._gate = gate

    async def stream(self, query: Any, context: MessageContext, /) -> AsyncGenerator[Any, None]:
        """Yield the items of one stream query that was delivered."""
        described, source, gate = self.message_type, self._source, self._gate
        if gate.ended:
            raise stopped(described, source.service_name)
        route = await route_to(source, described, source.stream_route)
        if route is None:
            raise no_handler(described, source.service_name)
        gate.waiting += 1
        try:
            async with aclosing(run_stream(route, query, context, source.clock)) as items:
                async for item in items:
                    yield item
        finally:
            gate.waiting -= 1
