"""With `wait_replicas` or `wait_aof`, whatever is acknowledged is confirmed, also what another call has written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError
from catga_core.interfaces import Claimed, Completed
from catga_testing.contracts.stores.records import message
from catga_testing.servers import Link, ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, event, opened

pytestmark = pytest.mark.redis


@asynccontextmanager
async def hung_replica(
    server: ValkeyServer, **options: Any
) -> AsyncIterator[tuple[Kept, Kept, ValkeyServer]]:
    """Give stores that wait for a replica, stores of the same data that do not, and the replica, which has stopped."""
    async with (
        ValkeyServer(replica_of=server) as replica,
        opened(server.url, wait_replicas=1, wait_timeout_seconds=0.2, **options) as kept,
        opened(server.url, prefix=kept.storage.options.prefix) as beside,
    ):
        await eventually(lambda: kept.log.append(appends("before", event("before"))), within=20.0)
        await replica.stop()
        try:
            yield kept, beside, replica
        finally:
            await replica.resume()


def unconfirmed(error: BaseException | None) -> bool:
    return (
        isinstance(error, CatgaError)
        and error.details["outcome"] == "unknown"
        and "0 of 1 replicas have it" in error.message
    )


async def test_repetition_is_not_acknowledged_before_its_first_write_is_confirmed(
    valkey_server: ValkeyServer,
) -> None:
    async with hung_replica(valkey_server) as (kept, beside, replica):
        given = appends("orders-1", event("m-1"))
        await beside.log.append(given)
        with pytest.raises(CatgaError) as raised:
            await kept.log.append(given)
        assert unconfirmed(raised.value)

        await replica.resume()
        [result] = await eventually(lambda: kept.log.append(given))
        assert result.version == 1


async def test_repetition_over_a_new_connection_is_not_acknowledged_unconfirmed(
    valkey_server: ValkeyServer,
) -> None:
    async with (
        ValkeyServer(replica_of=valkey_server) as replica,
        Link(valkey_server.url) as link,
        opened(link.url, wait_replicas=1, wait_timeout_seconds=0.2) as kept,
    ):
        await eventually(lambda: kept.log.append(appends("before", event("before"))), within=20.0)
        await replica.stop()
        await link.stall("to_client")
        appending = asyncio.create_task(kept.log.append(appends("orders-1", event("m-1"))))
        async with Redis.from_url(valkey_server.url) as client:
            await eventually(lambda: client.exists(f"{kept.storage.root}s:orders-1"))
        await link.cut()
        await link.restore()

        with pytest.raises(CatgaError) as raised:
            await appending
        await replica.resume()
    assert unconfirmed(raised.value)


async def test_repetition_in_a_unit_of_work_is_confirmed(valkey_server: ValkeyServer) -> None:
    async with hung_replica(valkey_server) as (kept, beside, _):
        given = appends("orders-1", event("m-1"))
        await beside.log.append(given)

        with pytest.raises(CatgaError) as raised:
            async with kept.storage.unit_of_work():
                await kept.log.append(given)
    assert unconfirmed(raised.value)


async def test_known_message_in_the_inbox_is_confirmed(valkey_server: ValkeyServer) -> None:
    async with hung_replica(valkey_server) as (kept, beside, _):
        assert await beside.inbox.record("m-1", "handler")

        with pytest.raises(CatgaError) as raised:
            async with kept.storage.unit_of_work():
                await kept.inbox.record("m-1", "handler")
        assert unconfirmed(raised.value)
        with pytest.raises(CatgaError) as raised:
            await kept.inbox.seen("m-1", "handler")
        assert unconfirmed(raised.value)


async def test_result_of_another_caller_is_confirmed(valkey_server: ValkeyServer) -> None:
    async with hung_replica(valkey_server) as (kept, beside, replica):
        claim = await beside.idempotency.claim("k", lease=60.0)
        assert isinstance(claim, Claimed)
        await beside.idempotency.complete(claim, b"done", ttl=60.0)

        outcomes = await asyncio.gather(
            kept.idempotency.claim("k", lease=60.0),
            kept.idempotency.wait("k", timeout=1.0),
            return_exceptions=True,
        )
        assert [unconfirmed(each) for each in outcomes if isinstance(each, BaseException)] == [True, True]

        await replica.resume()
        found = await eventually(lambda: kept.idempotency.wait("k", timeout=1.0))
        assert found == Completed("k", b"done")


async def test_message_that_the_outbox_has_already_is_confirmed(valkey_server: ValkeyServer) -> None:
    async with hung_replica(valkey_server) as (kept, beside, _):
        given = message()
        await beside.outbox.add([given])

        with pytest.raises(CatgaError) as raised:
            await kept.outbox.add([given])
    assert unconfirmed(raised.value)


async def test_unconfirmed_writes_degrade_health_until_a_replica_confirms(
    valkey_server: ValkeyServer,
) -> None:
    async with hung_replica(valkey_server) as (kept, _, replica):
        with pytest.raises(CatgaError):
            await kept.log.append(appends("orders-1"))
        health = kept.storage.health()
        assert (health.status, "not confirmed" in health.description) == ("degraded", True)

        await replica.resume()
        await eventually(lambda: kept.storage.health().status == "healthy", within=15.0)


async def test_lock_can_be_given_back_with_a_confirmation_while_memory_is_full(
    valkey_server: ValkeyServer,
) -> None:
    async with hung_replica(valkey_server) as (kept, _, replica):
        await replica.resume()
        lock = await eventually(lambda: kept.locks.acquire("l", lease=60.0))
        assert lock is not None
        async with Redis.from_url(valkey_server.url) as client:
            await client.config_set("maxmemory", 1)
            assert await kept.locks.release(lock)
            await client.config_set("maxmemory", 0)
