"""The transports of a running container: one for requests and events, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from catga_core.container.di.resolver import Resolver
from catga_core.interfaces.transport import (
    EventTransport,
    Inbound,
    RequestTransport,
    TransportLifecycle,
)


class Carrier(msgspec.Struct, frozen=True):
    """One transport, and what it carries.

    Args:
        name: Its provider's name.
        transport: The transport.
        requests: Whether it carries requests.
        events: Whether it carries events.
    """

    name: str
    transport: TransportLifecycle
    requests: bool
    events: bool

    def inbound(self, whole: Inbound) -> Inbound:
        """Return the part of what is handled here that this transport delivers."""
        return msgspec.structs.replace(
            whole,
            requests=whole.requests if self.requests else (),
            events=whole.events if self.events else (),
        )


def carriers_of(resolver: Resolver) -> Sequence[Carrier]:
    """Return the transports that are registered, each once.

    Args:
        resolver: Creates them; what has to be awaited is created already.
    """
    requests = _found(resolver, RequestTransport)
    events = _found(resolver, EventTransport)
    if requests is not None and requests is events:
        return [Carrier("transport", requests, requests=True, events=True)]
    found: list[Carrier] = []
    if requests is not None:
        found.append(Carrier("request_transport", requests, requests=True, events=False))
    if events is not None:
        found.append(Carrier("event_transport", events, requests=False, events=True))
    return found


def _found(resolver: Resolver, service: Any) -> Any:
    return None if resolver.effective(service) is None else resolver.resolve(service)
