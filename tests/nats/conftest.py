"""A foreign peer: nats-py alone, as another language's client would be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client

from catga_testing.servers import NatsServer


@pytest.fixture
async def peer(nats_server_shared: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server_shared.url)
    yield client
    await client.close()
