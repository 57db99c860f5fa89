"""The plugins that core brings itself: the serializers and the in-process transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catga_core.clock import Clock
from catga_core.interfaces.transport import Transport
from catga_core.memory import LocalTransport, local_bus
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.plugins import plugin

if TYPE_CHECKING:
    from catga_core.container import CatgaContainer


@plugin(api=1)
def add_msgpack_serializer(container: CatgaContainer, _name: str = "msgpack") -> None:
    """Make msgpack the container's serializer."""
    container.add_singleton(Serializer, msgpack_serializer)


@plugin(api=1)
def add_json_serializer(container: CatgaContainer, _name: str = "json") -> None:
    """Make JSON the container's serializer."""
    container.add_singleton(Serializer, json_serializer)


@plugin(api=1)
def add_memory_transport(container: CatgaContainer, url: str = "memory://default") -> None:
    """Connect the container with every other one of this process that names the same bus.

    Args:
        container: The container.
        url: `memory://NAME`; the name says which bus.
    """
    name = url.partition("://")[2] or "default"

    def local_transport(
        serializer: Serializer, clock: Clock, registry: MessageRegistry | None = None
    ) -> LocalTransport:
        return LocalTransport(local_bus(name), clock, serializer=serializer, registry=registry)

    container.add_singleton(Transport, local_transport)
