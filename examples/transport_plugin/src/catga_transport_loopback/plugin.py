"""How the transport gets into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Clock, Serializer, Transport, plugin

from .transport import LoopbackTransport


@plugin(api=1)
def add_loopback_transport(container: CatgaContainer, url: str) -> None:
    """Connect the container with every other one at the same hub.

    Args:
        container: The application's container; the last call for a transport wins.
        url: `loopback://host:port`.
    """

    # The container gives it what it asks for by type: its own serializer, and the clock that a test may replace.
    def loopback_transport(serializer: Serializer, clock: Clock) -> LoopbackTransport:
        return LoopbackTransport(url, serializer, clock)

    container.add_singleton(Transport, loopback_transport)
