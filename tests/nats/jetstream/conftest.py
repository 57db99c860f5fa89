"""Queues over a real server with file storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from catga_testing.servers import NatsServer
from tests.nats.jetstream.support import Running


@pytest.fixture(scope="session")
def jetstream_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(jetstream=True, store_dir=tmp_path_factory.mktemp("jetstream")) as server:
        yield server
        # Asked to end, nats-server 2.15.1 sometimes hangs in the shutdown of JetStream after streams were removed; nobody needs them.
        server.blocking.kill()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server of the test's own, to be killed."""
    async with NatsServer(jetstream=True, store_dir=tmp_path / "jetstream") as server:
        yield server


@pytest.fixture
async def running(jetstream_shared: NatsServer) -> AsyncIterator[Running]:
    """Starts transports on the shared server, each test under a prefix of its own."""
    running = Running(jetstream_shared.url)
    yield running
    await running.stop()
