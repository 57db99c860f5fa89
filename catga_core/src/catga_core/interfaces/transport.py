"""The port of what carries both requests and events, and the parts of it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from catga_core.interfaces.endpoints import EventEndpoint, Inbound, RequestEndpoint, StreamEndpoint
from catga_core.interfaces.event_transport import EventTransport
from catga_core.interfaces.port import port
from catga_core.interfaces.request_transport import RequestTransport
from catga_core.interfaces.stream_transport import StreamTransport
from catga_core.interfaces.transport_lifecycle import TransportCapabilities, TransportLifecycle

__all__ = [
    "EventEndpoint",
    "EventTransport",
    "Inbound",
    "RequestEndpoint",
    "RequestTransport",
    "StreamEndpoint",
    "StreamTransport",
    "Transport",
    "TransportCapabilities",
    "TransportLifecycle",
]


@port("transport", parts=(RequestTransport, EventTransport, StreamTransport))
@runtime_checkable
class Transport(RequestTransport, EventTransport, Protocol):
    """Carries requests to the one process that handles them, and events to every subscribing service.

    Registering or overriding it provides `RequestTransport`, `EventTransport` and `StreamTransport` as well. A plugin that carries
    only one of them registers that port alone. A transport without the capability `streams` needs no method `stream`.
    """
