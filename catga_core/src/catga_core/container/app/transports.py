"""The transports of a running container: one for everything, or one for each kind of message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from catga_core.container.app.conflicts import shared_names
from catga_core.container.app.handler_table import HandlerTable
from catga_core.container.app.options import CatgaOptions
from catga_core.container.di.resolver import Resolver
from catga_core.errors import ConfigurationError
from catga_core.interfaces.transport import (
    EventTransport,
    Inbound,
    RequestTransport,
    StreamTransport,
    TransportLifecycle,
)
from catga_core.mediator import Dispatcher
from catga_core.messages import message_type


class Carrier(msgspec.Struct, frozen=True):
    """One transport, and what it carries.

    Args:
        name: Its provider's name.
        transport: The transport.
        requests: Whether it carries requests.
        events: Whether it carries events.
        streams: Whether it carries stream queries.
    """

    name: str
    transport: TransportLifecycle
    requests: bool
    events: bool
    streams: bool

    def inbound(self, whole: Inbound) -> Inbound:
        """Return the part of what is handled here that this transport delivers."""
        return msgspec.structs.replace(
            whole,
            requests=whole.requests if self.requests else (),
            events=whole.events if self.events else (),
            streams=whole.streams if self.streams else (),
        )


def carriers_of(resolver: Resolver) -> Sequence[Carrier]:
    """Return the transports that are registered, each once.

    Args:
        resolver: Creates them; what has to be awaited is created already.
    """
    requests = _found(resolver, RequestTransport)
    events = _found(resolver, EventTransport)
    streams = _found(resolver, StreamTransport)
    named = {"request_transport": requests, "event_transport": events, "stream_transport": streams}
    if requests is not None and requests is events:
        named = {"transport": requests, **named}
    found: dict[int, Carrier] = {}
    for name, transport in named.items():
        if transport is not None and id(transport) not in found:
            able = transport is streams and transport.capabilities.streams
            found[id(transport)] = Carrier(name, transport, transport is requests, transport is events, able)
    return list(found.values())


def inbound_of(
    options: CatgaOptions, handlers: HandlerTable, dispatcher: Dispatcher, *, remote: bool
) -> Inbound:
    """Return all that is handled here, for the transports.

    Args:
        options: The container's.
        handlers: Its handlers.
        dispatcher: Gives the endpoints.
        remote: Whether messages arrive by their wire names.

    Raises:
        ConfigurationError: When two messages arrive under one name.
    """
    requests, events, streams = (
        handlers.served_requests(),
        handlers.served_events(),
        handlers.served_streams(),
    )
    if remote and (problems := shared_names([*requests, *events, *streams])):
        raise ConfigurationError(problems)
    return Inbound(
        options.service_name,
        [dispatcher.request_endpoint(message_type(cls)) for cls in requests],
        [
            dispatcher.event_endpoint(described)
            for described in map(message_type, events)
            if not dispatcher.delivers_in_queues(described)
        ],
        options.max_concurrent_requests,
        [dispatcher.stream_endpoint(message_type(cls)) for cls in streams],
    )


def _found(resolver: Resolver, service: Any) -> Any:
    return None if resolver.effective(service) is None else resolver.resolve(service)
