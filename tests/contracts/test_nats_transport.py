"""The NATS transport keeps the contract of every transport, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import nats
import pytest

from catga_core import MessageType, TransportCapabilities
from catga_core.messages import MessageKind
from catga_core.messages.serialization import msgpack_serializer
from catga_nats import NatsOptions, NatsTransport
from catga_testing.contracts import TransportContract, TransportFactory
from catga_testing.contracts.transport import GarbageSender, UpcastingFactory
from catga_testing.servers import NatsServer

pytestmark = pytest.mark.nats


class NatsContract(TransportContract):
    capabilities = TransportCapabilities(remote=True, streams=True)

    options: dict[str, str] = {}

    @pytest.fixture
    def prefix(self) -> str:
        # The server is shared by all tests; a prefix is a network of its own.
        return f"contract-{uuid.uuid4().hex}"

    @pytest.fixture
    def make_transport(self, nats_server_shared: NatsServer, prefix: str) -> TransportFactory:
        options = NatsOptions(nats_server_shared.url, subject_prefix=prefix, **self.options)  # type: ignore[arg-type]
        return lambda clock: NatsTransport(options, msgpack_serializer(), clock)

    @pytest.fixture
    def make_upcasting_transport(self, nats_server_shared: NatsServer, prefix: str) -> UpcastingFactory:
        options = NatsOptions(nats_server_shared.url, subject_prefix=prefix, **self.options)  # type: ignore[arg-type]
        return lambda clock, registry: NatsTransport(options, msgpack_serializer(), clock, registry)

    @pytest.fixture
    async def send_garbage(self, nats_server_shared: NatsServer, prefix: str) -> AsyncIterator[GarbageSender]:
        client = await nats.connect(nats_server_shared.url)

        async def send(described: MessageType, data: bytes) -> None:
            kind = "event" if described.kind is MessageKind.EVENT else "request"
            await client.publish(f"{prefix}.{kind}.{described.name}", data, reply=client.new_inbox())
            await client.flush()

        yield send
        await client.close()


class TestNatsTransport(NatsContract):
    pass


class TestNatsTransportWithHeaders(NatsContract):
    options = {"envelope": "headers"}


class TestNatsTransportWithJson(NatsContract):
    options = {"serializer": "json"}


class TestNatsTransportThatWaits(NatsContract):
    options = {"while_disconnected": "wait"}
