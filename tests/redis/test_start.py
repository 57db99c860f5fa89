"""A Redis that cannot be used is told at the start, and what it may lose too."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from catga_core import CatgaError, ConfigurationError, HealthStatus, add_catga
from catga_core.errors import PersistenceError
from catga_core.log import REDIS_DURABILITY
from catga_redis import RedisOptions, add_redis_catga
from catga_testing.servers import ReservedPort, ValkeyServer
from tests.redis.support import opened

pytestmark = pytest.mark.redis


async def refused(url: str, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        async with opened(url, **options):
            pass
    return str(raised.value)


async def unreachable(url: str, **options: Any) -> str:
    with pytest.raises(PersistenceError) as raised:
        async with opened(url, **options):
            pass
    error = raised.value
    assert (error.code, error.retryable, error.outcome) == ("PERSISTENCE_FAILED", True, "not_written")
    return error.message


async def test_no_server_is_told_at_once() -> None:
    with ReservedPort() as port:
        told = await unreachable(f"redis://127.0.0.1:{port.number}")

    assert f"no Redis at redis://127.0.0.1:{port.number}/0" in told
    assert "start a server there, or correct the URL" in told


async def test_a_server_that_does_not_answer_is_given_up_in_time(valkey_server: ValkeyServer) -> None:
    await valkey_server.stop()

    told = await unreachable(valkey_server.url, connect_timeout_seconds=0.3)
    await valkey_server.resume()

    assert "start a server there" in told


@pytest.mark.parametrize("password", ["wrong-secret", None])
async def test_a_refused_password_is_told_and_not_shown(password: str | None) -> None:
    async with ValkeyServer(password="right-secret") as server:
        told = await refused(f"redis://127.0.0.1:{server.port}", password=password)

        assert "check username and password" in told
        assert "secret" not in told
        async with opened(server.url) as kept:
            assert kept.storage.health().status is HealthStatus.HEALTHY
            assert "secret" not in repr(kept.storage.options) + repr(kept.storage.health())


async def test_a_container_whose_server_is_missing_starts_once_it_is_there(
    valkey_server: ValkeyServer,
) -> None:
    catga = add_catga()
    add_redis_catga(catga, RedisOptions(valkey_server.url))
    await valkey_server.kill()
    with pytest.raises(CatgaError, match="no Redis at") as raised:
        async with catga.running():
            pass
    await valkey_server.restart()

    async with catga.running() as app:
        assert await app.event_store.log.head() == 0
    assert raised.value.retryable


async def test_a_replica_is_no_place_to_write(valkey_server: ValkeyServer) -> None:
    async with ValkeyServer(replica_of=valkey_server) as replica:
        assert "is a replica: name its primary" in await refused(replica.url)


async def test_data_of_a_newer_layout_is_left_alone(valkey_server_shared: ValkeyServer) -> None:
    async with Redis.from_url(valkey_server_shared.url) as client:
        await client.set("{newer}:layout", 99)

    assert "holds data of layout 99" in await refused(valkey_server_shared.url, prefix="newer")


async def told_at_start(server: ValkeyServer, **options: Any) -> dict[str, Any]:
    with capture_logs() as lines:
        async with opened(server.url, **options):
            pass
    return next(dict(line) for line in lines if line["event"] == REDIS_DURABILITY)


@pytest.mark.parametrize(
    ("settings", "level", "lost"),
    [
        ({"appendfsync": "always"}, "info", "nothing that was acknowledged"),
        ({"appendfsync": "everysec"}, "info", "up to two seconds"),
        ({"appendfsync": "no"}, "info", "up to half a minute"),
        ({"appendfsync": None}, "warning", "everything written since the last snapshot"),
    ],
)
async def test_the_start_says_what_may_be_lost(settings: dict[str, Any], level: str, lost: str) -> None:
    async with ValkeyServer(**settings) as server:
        line = await told_at_start(server)

    assert line["log_level"] == level
    assert lost in line["may_lose"]


async def test_a_server_that_evicts_is_warned_of() -> None:
    async with ValkeyServer(appendfsync="always", maxmemory_policy="allkeys-lru") as server:
        line = await told_at_start(server)

    assert line["log_level"] == "warning"
    assert "removes keys by itself (allkeys-lru)" in line["evicts"]


async def test_settings_that_may_not_be_read_are_told_as_unknown(valkey_server: ValkeyServer) -> None:
    async with Redis.from_url(valkey_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config")
    server = f"redis://app:pw@127.0.0.1:{valkey_server.port}"
    with capture_logs() as lines:
        async with opened(server) as kept:
            await kept.log.head()

    [line] = [line for line in lines if line["event"] == REDIS_DURABILITY]
    assert "CONFIG GET" in line["may_lose"]


async def test_wait_aof_needs_a_server_that_keeps_a_file() -> None:
    async with ValkeyServer(appendfsync=None) as server:
        assert "switch appendonly on" in await refused(server.url, wait_aof=True)
    async with ValkeyServer(appendfsync="no") as server:
        assert "set appendfsync everysec or always" in await refused(server.url, wait_aof=True)


async def test_each_option_decides_which_stores_are_there(valkey_server_shared: ValkeyServer) -> None:
    catga = add_catga()
    options = RedisOptions(
        valkey_server_shared.url,
        prefix="chosen",
        enable_idempotency=False,
        enable_inbox=False,
        enable_outbox=False,
        enable_queues=False,
        enable_saga_persistence=False,
        enable_dead_letters=False,
        enable_locks=False,
    )
    add_redis_catga(catga, options)

    async with catga.running() as app:
        assert "Redis" in type(app.event_store.log).__name__
        assert "Redis" not in type(app.idempotency_store).__name__
        assert "Redis" not in type(app.saga_store).__name__


def test_nothing_at_all_is_a_mistake() -> None:
    off = {name: False for name in RedisOptions.__dataclass_fields__ if name.startswith("enable_")}

    with pytest.raises(ConfigurationError, match="every enable_ option of Redis is off"):
        add_redis_catga(add_catga(), RedisOptions(**off))  # type: ignore[arg-type]
