"""The contract kit as the author of a plugin runs it: against installed wheels, far from this repository.

`nox -s packaging` copies this file, as a test module, to an empty folder outside the tree. It may import
only what the wheels bring. Its name keeps it out of the usual run, where tests/contracts covers the same.
"""

from __future__ import annotations

import uuid
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from catga_core import TransportCapabilities
from catga_core.interfaces import StorageCapabilities
from catga_core.memory import MEMORY_PORTS, LocalBus, LocalTransport, MemoryStorage, memory_stores
from catga_core.messages.serialization import msgpack_serializer
from catga_nats import NatsOptions, NatsTransport
from catga_redis import RedisOptions, redis_stores
from catga_sqlite import SqliteOptions, sqlite_stores
from catga_testing import TransportContract
from catga_testing.contracts import StoresContract, StoresFactory, TransportFactory
from catga_testing.contracts.transport import UpcastingFactory
from catga_testing.servers import NatsServer, ValkeyServer


class TestLocal(TransportContract):
    capabilities = TransportCapabilities(remote=False, zero_copy=True, streams=True)

    @pytest.fixture
    def make_transport(self) -> TransportFactory:
        bus = LocalBus()
        return lambda clock: LocalTransport(bus, clock)

    @pytest.fixture
    def make_upcasting_transport(self) -> UpcastingFactory:
        bus = LocalBus()
        return lambda clock, registry: LocalTransport(bus, clock, registry=registry)


class TestNats(TransportContract):
    capabilities = TransportCapabilities(remote=True, streams=True)

    @pytest.fixture
    def make_transport(self, nats_server_shared: NatsServer) -> TransportFactory:
        options = NatsOptions(nats_server_shared.url, subject_prefix=f"outside-{uuid.uuid4().hex}")
        return lambda clock: NatsTransport(options, msgpack_serializer(), clock)

    @pytest.fixture
    def make_upcasting_transport(self, nats_server_shared: NatsServer) -> UpcastingFactory:
        options = NatsOptions(nats_server_shared.url, subject_prefix=f"outside-{uuid.uuid4().hex}")
        return lambda clock, registry: NatsTransport(options, msgpack_serializer(), clock, registry)


class TestMemory(StoresContract):
    ports = MEMORY_PORTS
    capabilities = StorageCapabilities(durable=False, shared=False, immediate=True, connection=True)

    @pytest.fixture
    def make_stores(self) -> StoresFactory:
        storage = MemoryStorage()
        return lambda clock: memory_stores(clock, storage)


class TestSqlite(StoresContract):
    ports = MEMORY_PORTS
    capabilities = StorageCapabilities(
        durable=True, shared=True, immediate=True, connection=True, joining_locks=True
    )
    payloads = True

    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> StoresFactory:
        options = SqliteOptions(tmp_path / "app.db", poll_seconds=0.01)
        return lambda clock: sqlite_stores(options, clock)


class TestRedis(StoresContract):
    ports = MEMORY_PORTS
    capabilities = StorageCapabilities(durable=True, shared=True, immediate=False, connection=True)

    @pytest.fixture
    def make_stores(self, valkey_server_shared: ValkeyServer) -> StoresFactory:
        options = RedisOptions(valkey_server_shared.url, prefix=f"outside-{uuid.uuid4().hex}")
        return lambda clock: redis_stores(options, clock)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("catga.transports", "memory"),
        ("catga.transports", "nats"),
        ("catga.transports", "tls"),
        ("catga.stores", "memory"),
        ("catga.stores", "redis"),
        ("catga.stores", "rediss"),
        ("catga.stores", "sqlite"),
    ],
)
def test_transports_and_stores_are_found_by_their_entry_points(group: str, name: str) -> None:
    (found,) = entry_points(group=group, name=name)
    assert callable(found.load())
