"""Callers follow their keys to another node of a cluster, which gets their slot or takes a failed one's place, and lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError
from catga_core.interfaces import Claimed
from catga_testing.contracts.stores.records import message
from catga_testing.servers import ValkeyCluster, ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.failing_over import replicated
from tests.redis.slots import Slot
from tests.redis.support import Kept, appends, event, opened

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


@asynccontextmanager
async def moving(cluster: ValkeyCluster, **options: Any) -> AsyncIterator[tuple[Kept, Slot, ValkeyServer]]:
    """Give stores, the slot of their keys, and a node that does not have it."""
    async with opened(cluster.url, **options) as kept:
        slot = Slot(cluster, kept.storage.root)
        await kept.log.append(appends("orders-1", event("first")))
        yield kept, slot, next(node for node in cluster.nodes if node is not slot.owner)


async def test_writers_follow_a_slot_that_moves_to_and_fro(cluster: ValkeyCluster) -> None:
    async with moving(cluster) as (kept, slot, _):
        over = asyncio.Event()
        acknowledged: list[tuple[str, str]] = []

        async def write(stream: str) -> None:
            while not over.is_set():
                given = event()
                await kept.log.append(appends(stream, given))
                acknowledged.append((stream, given.message_id))
                await asyncio.sleep(0.002)

        writers = [asyncio.create_task(write(f"orders-{number}")) for number in range(8)]
        for _ in range(3):
            target = next(node for node in cluster.nodes if node is not slot.owner)
            await slot.move(target)
            before = len(acknowledged)
            await eventually(lambda before=before: len(acknowledged) > before + 20)  # type: ignore[misc] # a default keeps it
        over.set()
        await asyncio.gather(*writers)

        stored = [
            (each.stream_id, each.record.message_id)
            for each in await kept.log.read_all(after=0, limit=100_000)
        ]
        assert len(stored) == len(set(stored))
        assert set(acknowledged) <= set(stored)


async def test_readers_follow_a_slot_that_has_moved(cluster: ValkeyCluster) -> None:
    async with moving(cluster) as (kept, slot, target):
        await slot.move(target)

        # A command, not a script: the first that meets the former node.
        assert await kept.log.version("orders-1") == 1


async def test_writer_waits_while_the_keys_are_on_both_nodes(cluster: ValkeyCluster) -> None:
    async with moving(cluster) as (kept, slot, target):
        await slot.begin(target)
        await slot.carry(target, most=1)
        appending = asyncio.create_task(kept.log.append(appends("orders-1", event("second"), expected=1)))
        done, _ = await asyncio.wait([appending], timeout=0.3)
        assert not done

        await slot.carry(target)
        await slot.end(target)
        [result] = await appending
        assert result.version == 2


async def test_writer_is_told_when_a_move_takes_longer_than_the_recovery(cluster: ValkeyCluster) -> None:
    async with moving(cluster, command_timeout_seconds=2.0, recover_timeout_seconds=0.2) as (
        kept,
        slot,
        target,
    ):
        await slot.begin(target)
        with pytest.raises(
            CatgaError, match="the cluster is moving these keys; nothing was written"
        ) as raised:
            await kept.log.append(appends("orders-1"))
        assert (raised.value.retryable, raised.value.details["outcome"]) == (True, "not_written")

        await slot.carry(target)
        await slot.end(target)
        await eventually(lambda: kept.log.append(appends("orders-1", event("again"))))


async def test_storage_starts_while_its_slot_is_moving(cluster: ValkeyCluster) -> None:
    async with moving(cluster) as (kept, slot, target):
        await slot.begin(target)
        prefix = kept.storage.options.prefix

        async def start() -> int:
            async with opened(cluster.url, prefix=prefix) as another:
                return await another.log.version("orders-1")

        starting = asyncio.create_task(start())
        done, _ = await asyncio.wait([starting], timeout=0.3)
        assert not done
        await slot.carry(target)
        await slot.end(target)

        assert await starting == 1


async def work(kept: Kept, number: int) -> str:
    """Use several stores as one unit of work, and what is not in one; return the id of a message."""
    given = message(f"m-{number}", key="key")
    assert await kept.inbox.record(f"m-{number}", "handler")
    assert isinstance(await kept.idempotency.claim(f"m-{number}", lease=60.0), Claimed)
    async with kept.storage.unit_of_work():
        await kept.log.append(appends("orders-1"))
        await kept.outbox.add([given])
    return given.context.message_id


async def takes_over(replica: ValkeyServer, ends: str) -> bool:
    """Return whether a replica was promoted; ask for it where its primary lives."""
    async with Redis.from_url(replica.url) as client:
        if (await client.info("replication"))["role"] == "master":
            return True
        if ends == "handed over":
            await client.execute_command("CLUSTER", "FAILOVER")
        return False


@pytest.mark.parametrize("ends", ["killed", "hung", "handed over"])
@pytest.mark.parametrize("named", ["all", "one"])
async def test_callers_follow_a_failover_of_their_node(ends: str, named: str) -> None:
    times: dict[str, Any] = {
        "connect_timeout_seconds": 2.0,
        "command_timeout_seconds": 2.0,
        "recover_timeout_seconds": 20.0,
    }
    prefix = "failover"
    with ValkeyCluster() as cluster:
        owner = Slot(cluster, f"{{{prefix}}}:").owner
        # One that fails is known from the cluster's own word only, as is its replica.
        url = cluster.url if named == "all" else f"redis+cluster://127.0.0.1:{owner.port}"
        async with replicated(cluster, owner) as replica, opened(url, prefix=prefix, **times) as kept:
            done = [await work(kept, number) for number in range(5)]
            if ends != "handed over":
                await (owner.kill() if ends == "killed" else owner.stop())
            promoted = asyncio.create_task(
                eventually(lambda: takes_over(replica, ends), within=30.0, every=0.5)
            )
            done += [await work(kept, number) for number in range(5, 30)]
            await promoted
            done += [await work(kept, number) for number in range(30, 35)]

            leased = await kept.outbox.lease(limit=100, lease=60.0)
            assert [each.message.context.message_id for each in leased] == done
            assert await kept.log.version("orders-1") == len(done)
            if ends == "hung":
                await owner.resume()
