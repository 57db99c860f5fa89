"""Once an answer was lost, the outcome is unknown until an answer of the server proves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError
from catga_testing.servers import Link, ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, event, opened

pytestmark = pytest.mark.redis

Fault = Callable[[Redis, str], Awaitable[object]]


async def fill_memory(client: Redis, _: str) -> None:
    await client.config_set("maxmemory", 1)


async def forbid_scripts(client: Redis, user: str) -> None:
    await client.execute_command("ACL", "SETUSER", user, "-evalsha", "-eval")


async def forbid_a_write(client: Redis, user: str) -> None:
    await client.execute_command("ACL", "SETUSER", user, "-hsetnx")


async def change_the_password(client: Redis, user: str) -> None:
    await client.execute_command("ACL", "SETUSER", user, "resetpass", ">another")


async def remove_the_user(client: Redis, user: str) -> None:
    await client.execute_command("ACL", "DELUSER", user)


@asynccontextmanager
async def lost_answer(
    server: ValkeyServer, fault: Fault | None
) -> AsyncIterator[tuple[Kept, asyncio.Task[object]]]:
    """Give an append that was applied, whose answer was lost, and that is sent again after a fault."""
    async with Redis.from_url(server.url) as client, Link(server.url) as link:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        url = link.url.replace("redis://", "redis://app:secret@")
        async with opened(url, recover_timeout_seconds=0.5, prefix="lost") as kept:
            await kept.log.append(appends("orders-1"))
            await link.stall("to_client")
            appending = asyncio.create_task(kept.log.append(appends("orders-1", event("m-1"))))

            async def is_written() -> bool:
                return bool(await client.llen("{lost}:s:orders-1") == 2)

            await eventually(is_written)
            if fault is not None:
                await fault(client, "app")
            await link.cut()
            if fault is not None:
                await link.restore()
            yield kept, appending
            await client.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    "fault", [fill_memory, forbid_scripts, forbid_a_write, change_the_password, remove_the_user, None]
)
async def test_refusal_after_a_lost_answer_leaves_the_outcome_unknown(
    valkey_server: ValkeyServer, fault: Fault | None
) -> None:
    async with lost_answer(valkey_server, fault) as (_, appending):
        with pytest.raises(CatgaError) as raised:
            await appending

    assert raised.value.details["outcome"] == "unknown"
    assert "nothing was written" not in raised.value.message
    assert "read before you retry" in raised.value.message


async def test_stop_after_a_lost_answer_leaves_the_outcome_unknown(valkey_server: ValkeyServer) -> None:
    async with lost_answer(valkey_server, None) as (kept, appending):
        await asyncio.wait([appending], timeout=0.1)
        await kept.storage.stop()
        with pytest.raises(CatgaError) as raised:
            await appending

    assert raised.value.details["outcome"] == "unknown"


@pytest.mark.parametrize("fault", [fill_memory, forbid_scripts])
async def test_refusal_of_the_first_attempt_proves_that_nothing_was_written(
    valkey_server: ValkeyServer, fault: Fault
) -> None:
    async with Redis.from_url(valkey_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        async with opened(valkey_server.url.replace("//", "//app:secret@")) as kept:
            await fault(client, "app")
            with pytest.raises(CatgaError) as raised:
                await kept.log.append(appends("orders-1"))
            await client.config_set("maxmemory", 0)

            assert await client.exists(f"{kept.storage.root}s:orders-1") == 0
    assert raised.value.details["outcome"] == "not_written"
