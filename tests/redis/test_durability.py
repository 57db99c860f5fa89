"""What was acknowledged is there after the worst, and nothing is half done."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError, ErrorCode
from catga_core.errors import LeaseLostError
from catga_core.interfaces import Claimed
from catga_redis import RedisStorage
from catga_testing.servers import ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, event, opened

pytestmark = pytest.mark.redis


async def test_a_killed_server_has_what_was_acknowledged_and_callers_go_on(
    valkey_server: ValkeyServer,
) -> None:
    async with opened(valkey_server.url) as kept:
        acknowledged: list[int] = []
        enough = asyncio.Event()

        async def write() -> None:
            for number in range(400):
                [result] = await kept.log.append(appends("orders-1", event(f"m-{number}")))
                acknowledged.append(result.position)
                if number == 100:
                    enough.set()

        writing = asyncio.create_task(write())
        await enough.wait()
        await valkey_server.kill()
        await valkey_server.restart()
        await writing

        stored = await kept.log.read_all(after=0, limit=1000)
        assert [each.record.message_id for each in stored] == [f"m-{number}" for number in range(400)]
        assert acknowledged == [each.position for each in stored]


async def test_a_server_that_slept_longer_than_every_lease_lets_no_former_owner_write(
    valkey_server: ValkeyServer,
) -> None:
    # Leases follow the server's clock, which goes on while the server sleeps.
    async with opened(valkey_server.url) as one, opened(valkey_server.url, prefix=_prefix(one)) as two:
        claim = await one.idempotency.claim("k", lease=0.2)
        lock = await one.locks.acquire("l", lease=0.2)
        assert isinstance(claim, Claimed)
        assert lock is not None
        await valkey_server.stop()
        # The former owner's writes wait in the server's socket until it wakes up.
        late = asyncio.create_task(one.idempotency.complete(claim, b"one", ttl=60.0))
        await asyncio.sleep(0.5)
        renewing = asyncio.create_task(one.locks.renew(lock, lease=60.0))
        await valkey_server.resume()
        taken = await two.locks.acquire("l", lease=60.0)
        again = await two.idempotency.claim("k", lease=60.0)

        outcomes = await asyncio.gather(late, renewing, return_exceptions=True)
        assert taken is not None
        assert taken.fencing_token > lock.fencing_token
        assert isinstance(outcomes[1], LeaseLostError)
        if isinstance(again, Claimed):
            # The second owner came first, and then the former owner's result is refused.
            assert isinstance(outcomes[0], LeaseLostError)
            await two.idempotency.complete(again, b"two", ttl=60.0)
        found = await two.idempotency.claim("k", lease=1.0)
        assert getattr(found, "result", None) in {b"one", b"two"}


def _prefix(kept: Kept) -> str:
    return kept.storage.options.prefix


async def test_a_full_memory_refuses_a_unit_of_work_as_a_whole() -> None:
    async with (
        ValkeyServer(maxmemory="8mb") as server,
        opened(server.url, recover_timeout_seconds=0.5) as kept,
    ):
        refused: CatgaError | None = None
        for number in range(200):
            try:
                async with kept.storage.unit_of_work():
                    await kept.log.append(appends(f"a-{number}", event(data=b"x" * 50_000)))
                    await kept.log.append(appends(f"b-{number}", event(data=b"x" * 50_000)))
            except CatgaError as error:
                refused = error
                break

        assert refused is not None
        assert refused.code == ErrorCode.PERSISTENCE_FAILED
        assert "memory is full" in refused.message
        assert refused.details["outcome"] == "not_written"
        assert await kept.log.version(f"a-{number}") == await kept.log.version(f"b-{number}") == 0
        assert await kept.log.head() == 2 * number


async def test_a_lock_can_be_given_back_while_memory_is_full() -> None:
    async with (
        ValkeyServer(maxmemory="8mb") as server,
        opened(server.url, recover_timeout_seconds=0.5) as kept,
    ):
        lock = await kept.locks.acquire("l", lease=60.0)
        assert lock is not None
        with pytest.raises(CatgaError, match="memory is full"):
            for _ in range(200):
                await kept.log.append(appends("big", event(data=b"x" * 100_000)))

        assert await kept.locks.release(lock)


async def test_a_write_that_too_few_replicas_have_is_told(valkey_server: ValkeyServer) -> None:
    async with (
        ValkeyServer(replica_of=valkey_server, appendfsync="always") as replica,
        opened(valkey_server.url, wait_replicas=1, wait_aof=True, wait_timeout_seconds=2.0) as kept,
    ):
        given = appends("orders-1")
        # The replica has to have found its primary first. It tells once in a second what its disk has.
        [result] = await eventually(lambda: kept.log.append(given), within=15.0)
        assert result.version == 1

        await replica.stop()
        with pytest.raises(CatgaError, match="0 of 1 replicas have it") as raised:
            await kept.log.append(appends("orders-1"))
        assert raised.value.details["outcome"] == "unknown"
        await replica.resume()


async def test_wait_aof_answers_when_the_disk_has_it() -> None:
    async with ValkeyServer(appendfsync="everysec") as server, opened(server.url, wait_aof=True) as kept:
        async with Redis.from_url(server.url) as client:
            await asyncio.gather(*(kept.log.append(appends("orders-1")) for _ in range(20)))
            # Everything this server has written to its file is on the disk by now.
            info = await client.info("persistence")
            assert info["aof_pending_bio_fsync"] == 0
        await server.kill()
        await server.restart()

        assert await kept.log.version("orders-1") == 20


async def test_a_storage_is_started_anew_after_a_stop(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept:
        storage: RedisStorage = kept.storage
        await storage.stop()
        with pytest.raises(CatgaError, match="not started, or stopped"):
            await kept.log.head()

        await storage.start()
        assert await kept.log.head() == 0
