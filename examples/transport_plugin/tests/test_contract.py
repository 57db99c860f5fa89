"""The loopback transport keeps Catga's contract of transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from catga_transport_loopback import Hub, LoopbackTransport
from catga_transport_loopback.frames import Ask, Tell, pack

from catga_core import MessageType, TransportCapabilities
from catga_core.messages import MessageKind
from catga_core.messages.serialization import msgpack_serializer
from catga_testing import TransportContract
from catga_testing.contracts import GarbageSender, TransportFactory


class TestLoopbackTransport(TransportContract):
    capabilities = TransportCapabilities(remote=True)

    @pytest_asyncio.fixture
    async def hub(self) -> AsyncIterator[Hub]:
        async with Hub() as hub:
            yield hub

    @pytest.fixture
    def make_transport(self, hub: Hub) -> TransportFactory:
        return lambda clock: LoopbackTransport(hub.url, msgpack_serializer(), clock)

    @pytest_asyncio.fixture
    async def send_garbage(self, hub: Hub) -> AsyncIterator[GarbageSender]:
        host, port = hub.url.removeprefix("loopback://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))

        async def send(described: MessageType, data: bytes) -> None:
            if described.kind is MessageKind.EVENT:
                writer.write(pack(Tell(f"event.{described.name}", data)))
            else:
                writer.write(pack(Ask(0, f"request.{described.name}", data)))
            await writer.drain()

        yield send
        writer.close()
        await writer.wait_closed()
