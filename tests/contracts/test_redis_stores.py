"""The stores in Redis keep the contract of every store, on real servers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from catga_redis import RedisOptions, redis_stores
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
    if program is None:
        pytest.skip("no redis-server on PATH")
    with ValkeyServer(program=program) as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


class TestValkeyStores(StoresContract):
    @pytest.fixture
    def make_stores(self, valkey_server_shared: ValkeyServer) -> StoresFactory:
        return _place(valkey_server_shared.url)


class TestRedisStores(StoresContract):
    @pytest.fixture
    def make_stores(self, redis: ValkeyServer) -> StoresFactory:
        return _place(redis.url)


@pytest.mark.slow
class TestClusterStores(StoresContract):
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
