"""What the user may not do fails the start, or, taken away later, each call and the health of the storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError, ConfigurationError
from catga_testing.servers import ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, opened

pytestmark = pytest.mark.redis

CHECKED_WITHIN = 20.0  # the storage looks at its rights every few seconds


@asynccontextmanager
async def user(server: ValkeyServer, *rules: str) -> AsyncIterator[tuple[Redis, str]]:
    """Give a client that may set rights, and the URL of a user with some."""
    async with Redis.from_url(server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rules)
        yield admin, server.url.replace("//", "//app:secret@")


@asynccontextmanager
async def working(server: ValkeyServer) -> AsyncIterator[tuple[Redis, Kept]]:
    async with (
        user(server, "~{mine}:*", "&{mine}:*", "+@all", "-@admin") as (admin, url),
        opened(url, prefix="mine", recover_timeout_seconds=1.0) as kept,
    ):
        await kept.log.append(appends("orders-1"))
        assert kept.storage.health().status == "healthy"
        yield admin, kept


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (("+@all", "-xadd", "-zadd"), "may not give XADD, ZADD"),
        (("+@all", "-evalsha", "-eval"), "lacks|may not do"),
        (("+@read", "+@connection", "+eval", "+evalsha"), "may not"),
    ],
)
async def test_start_names_what_the_user_may_not_do(
    valkey_server: ValkeyServer, rules: tuple[str, ...], named: str
) -> None:
    async with user(valkey_server, "~{mine}:*", "&{mine}:*", *rules) as (_, url):
        with pytest.raises(ConfigurationError, match=named):
            async with opened(url, prefix="mine"):
                pass


async def test_start_refuses_a_user_of_other_keys(valkey_server: ValkeyServer) -> None:
    async with user(valkey_server, "~{other}:*", "&*", "+@all") as (_, url):
        with pytest.raises(ConfigurationError, match="may not do what the stores need"):
            async with opened(url, prefix="mine"):
                pass


@pytest.mark.parametrize("rule", ["-evalsha", "-@scripting", "-@all", "resetkeys"])
async def test_rights_that_are_taken_away_fail_calls_and_degrade_health(
    valkey_server: ValkeyServer, rule: str
) -> None:
    async with working(valkey_server) as (admin, kept):
        await admin.execute_command("ACL", "SETUSER", "app", rule)
        with pytest.raises(CatgaError, match="lacks permissions") as raised:
            await kept.log.append(appends("orders-1"))
        assert (raised.value.code, raised.value.retryable) == ("PERSISTENCE_FAILED", False)
        assert raised.value.details["outcome"] == "not_written"
        health = kept.storage.health()
        assert (health.status, "lacks permissions" in health.description) == ("degraded", True)

        await admin.execute_command("ACL", "SETUSER", "app", "~{mine}:*", "+@all")
        await kept.log.append(appends("orders-1"))
        await eventually(lambda: kept.storage.health().status == "healthy", within=CHECKED_WITHIN)


async def test_right_that_no_call_has_missed_yet_degrades_health(valkey_server: ValkeyServer) -> None:
    async with working(valkey_server) as (admin, kept):
        await admin.execute_command("ACL", "SETUSER", "app", "-zadd")

        await eventually(lambda: kept.storage.health().status == "degraded", within=CHECKED_WITHIN)
        assert "may not give ZADD" in kept.storage.health().description


async def test_changed_password_fails_calls_at_once_and_is_not_shown(valkey_server: ValkeyServer) -> None:
    async with working(valkey_server) as (admin, kept):
        await admin.execute_command("ACL", "SETUSER", "app", "resetpass", ">another")
        await admin.client_kill_filter(user="app")
        with pytest.raises(CatgaError, match="refused the credentials") as raised:
            await kept.log.append(appends("orders-1"))
        assert "secret" not in str(raised.value) + kept.storage.health().description
        assert kept.storage.health().status == "unhealthy"


async def test_full_memory_degrades_health_until_there_is_room(valkey_server: ValkeyServer) -> None:
    async with working(valkey_server) as (admin, kept):
        await admin.config_set("maxmemory", 1)
        with pytest.raises(CatgaError, match="memory is full"):
            await kept.log.append(appends("orders-1"))
        assert "memory is full" in kept.storage.health().description

        await admin.config_set("maxmemory", 0)
        await eventually(lambda: kept.storage.health().status == "healthy", within=CHECKED_WITHIN)


async def test_user_that_may_not_subscribe_waits_by_asking_and_health_says_so(
    valkey_server: ValkeyServer,
) -> None:
    async with (
        user(valkey_server, "~{mine}:*", "resetchannels", "+@all") as (admin, url),
        opened(url, prefix="mine") as kept,
    ):
        waiting = asyncio.create_task(kept.log.wait(after=0, timeout=30.0))
        await eventually(lambda: "news" in kept.storage.health().details)
        assert "asked for every second" in kept.storage.health().details["news"]
        await kept.log.append(appends("orders-1"))
        await waiting

        await admin.execute_command("ACL", "SETUSER", "app", "&{mine}:*")
        await eventually(lambda: "news" not in kept.storage.health().details, within=CHECKED_WITHIN)
