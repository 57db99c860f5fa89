"""The stores in Redis keep the contract of every store, on real servers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from catga_core.interfaces import EventLog, IdempotencyStore, LockProvider, StorageCapabilities
from catga_redis import RedisOptions, redis_stores
from catga_redis.stores import enabled_ports
from catga_testing.contracts import ConnectionContract, StoresContract, StoresFactory
from catga_testing.servers import Link, ValkeyCluster, ValkeyServer, find_redis_server

pytestmark = pytest.mark.redis


def _place(url: str, **options: float) -> StoresFactory:
    # The servers are shared by all tests; a prefix is a place of its own.
    settings = RedisOptions(url, prefix=f"contract-{uuid.uuid4().hex}", **options)  # type: ignore[arg-type]
    return lambda clock: redis_stores(settings, clock)


@pytest.fixture(scope="module")
def redis() -> Iterator[ValkeyServer]:
    program = find_redis_server()
    assert program is not None
    with ValkeyServer(program=program) as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


class RedisContract(StoresContract):
    ports = enabled_ports(RedisOptions())
    capabilities = StorageCapabilities(durable=True, shared=True, immediate=False, connection=True)


class TestValkeyStores(RedisContract):
    @pytest.fixture
    def make_stores(self, valkey_server_shared: ValkeyServer) -> StoresFactory:
        return _place(valkey_server_shared.url)


if find_redis_server() is None:

    @pytest.mark.skip(reason="no redis-server on PATH")
    def test_redis_stores() -> None:
        """Stands for TestRedisStores, which is the contract once more on Redis's own server."""

else:

    class TestRedisStores(RedisContract):
        @pytest.fixture
        def make_stores(self, redis: ValkeyServer) -> StoresFactory:
            return _place(redis.url)


@pytest.mark.slow
class TestClusterStores(RedisContract):
    @pytest.fixture
    def make_stores(self, cluster: ValkeyCluster) -> StoresFactory:
        return _place(cluster.url)


class _Way:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def cut(self) -> None:
        await self._link.cut()

    async def mend(self) -> None:
        await self._link.restore()


class TestTheWayToValkey(ConnectionContract):
    ports = (EventLog, IdempotencyStore, LockProvider)
    capabilities = RedisContract.capabilities

    @pytest_asyncio.fixture
    async def link(self, valkey_server_shared: ValkeyServer) -> AsyncIterator[Link]:
        async with Link(valkey_server_shared.url) as link:
            yield link

    @pytest.fixture
    def make_stores(self, link: Link) -> StoresFactory:
        return _place(link.url, connect_timeout_seconds=1.0, recover_timeout_seconds=1.0)

    @pytest.fixture
    def connection(self, link: Link) -> _Way:
        return _Way(link)
