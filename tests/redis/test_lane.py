"""Callers that are sent together do not feel each other."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import Claimed
from catga_redis.stores.checkpoints import RedisCheckpointStore
from catga_testing.contracts.stores.records import message
from catga_testing.servers import Link, ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, event, opened

pytestmark = pytest.mark.redis


async def settled(kept: Kept) -> None:
    """Return when nothing is under way, the storage's own first look included."""
    for _ in range(2):
        await kept.log.head()


async def test_callers_of_one_turn_are_sent_over_one_connection(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as kept, Redis.from_url(valkey_server.url) as client:
        await asyncio.gather(*(kept.log.append(appends(f"s-{number}")) for number in range(200)))

        # This client, and the lane; nobody waits for news.
        assert len(await client.client_list()) == 2
        assert await kept.log.head() == 200


async def test_a_refusal_is_for_its_caller_alone(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept:
        async with Redis.from_url(valkey_server_shared.url) as client:
            await client.set(f"{kept.storage.root}s:broken", "no list")

        outcomes = await asyncio.gather(
            *(kept.log.append(appends("broken" if number == 5 else f"s-{number}")) for number in range(10)),
            return_exceptions=True,
        )

    failed = [number for number, each in enumerate(outcomes) if isinstance(each, CatgaError)]
    assert failed == [5]
    assert "another program uses keys of this prefix" in str(outcomes[5])


async def test_a_caller_that_sends_what_cannot_be_sent_fails_alone(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with opened(valkey_server_shared.url) as kept:
        wrong: object = object()
        outcomes = await asyncio.gather(
            kept.log.append(appends("one")),
            kept.idempotency.claim(wrong, lease=1.0),  # type: ignore[arg-type]
            kept.log.append(appends("two")),
            return_exceptions=True,
        )

    assert isinstance(outcomes[1], TypeError)
    assert not any(isinstance(outcomes[index], Exception) for index in (0, 2))


async def test_a_cancelled_caller_changes_nothing_for_the_others(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as kept:
        await valkey_server.stop()
        callers = [asyncio.create_task(kept.log.append(appends(f"s-{number}"))) for number in range(20)]
        await asyncio.sleep(0.05)
        for caller in callers[::2]:
            caller.cancel()
        await valkey_server.resume()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)

        for number, outcome in enumerate(outcomes):
            if number % 2:
                assert [each.version for each in outcome] == [1]  # type: ignore[union-attr]
            else:
                assert isinstance(outcome, asyncio.CancelledError)


async def test_who_is_cancelled_before_it_was_sent_is_not_sent(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept:
        caller = asyncio.create_task(kept.log.append(appends("never")))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait({caller})

        assert await kept.log.version("never") == 0


async def test_more_callers_than_a_batch_holds_are_all_served(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url, batch_size=3) as kept:
        await asyncio.gather(*(kept.log.append(appends("all")) for _ in range(50)))

        assert await kept.log.version("all") == 50


async def test_a_connection_cut_after_it_was_written_answers_as_if_it_was_not(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with Link(valkey_server_shared.url) as link, opened(link.url) as kept:
        await settled(kept)
        # The server gets it, and its answer does not arrive.
        await link.stall("to_client")
        appending = asyncio.create_task(kept.log.append(appends("orders-1", event("m-1"), expected=0)))
        claiming = asyncio.create_task(kept.idempotency.claim("k", lease=60.0))
        locking = asyncio.create_task(kept.locks.acquire("l", lease=60.0))
        noting = asyncio.create_task(kept.inbox.record("m-1", "handler"))
        async with opened(valkey_server_shared.url, prefix=kept.storage.options.prefix) as beside:
            await eventually(lambda: beside.log.version("orders-1"))
            await eventually(lambda: beside.inbox.seen("m-1", "handler"))
        await link.cut()
        await link.restore()

        [result] = await appending
        assert (result.version, result.position) == (1, 1)
        claim, lock = await claiming, await locking
        assert isinstance(claim, Claimed)
        assert lock is not None
        assert await noting
        assert await kept.log.head() == 1
        await kept.idempotency.complete(claim, b"done", ttl=60.0)
        assert await kept.locks.release(lock)


async def test_a_unit_of_work_whose_answer_was_lost_is_committed_once(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with Link(valkey_server_shared.url) as link, opened(link.url) as kept:
        counter = f"{kept.storage.root}app:count"
        async with kept.storage.unit_of_work() as unit:
            # The server knows the script from here on; otherwise its "no such script" would be what stalls.
            await kept.log.append(appends("orders-0"))
            unit.connection.queue("INCRBY", f"{counter}er", 1)

        async def work() -> None:
            async with kept.storage.unit_of_work() as unit:
                await kept.log.append(appends("orders-1"))
                unit.connection.queue("INCRBY", counter, 1)
                await link.stall("to_client")

        working = asyncio.create_task(work())
        async with Redis.from_url(valkey_server_shared.url) as client:
            await eventually(lambda: client.get(counter))
            await link.cut()
            await link.restore()
            await working

            assert await client.get(counter) == b"1"
        assert await kept.log.version("orders-1") == 1


async def test_a_discard_whose_answer_was_lost_knows_that_it_was_itself(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with Link(valkey_server_shared.url) as link, opened(link.url) as kept:
        await kept.outbox.add([message()])
        [leased] = await kept.outbox.lease(limit=1, lease=60.0)
        await settled(kept)
        await link.stall("to_client")
        discarding = asyncio.create_task(kept.outbox.discard(leased))
        async with opened(valkey_server_shared.url, prefix=kept.storage.options.prefix) as beside:

            async def gone() -> bool:
                return (await beside.outbox.stats()).pending == 0

            await eventually(gone)
        await link.cut()
        await link.restore()

        assert await discarding is True
        assert await kept.outbox.discard(leased) is False


async def test_a_checkpoint_whose_answer_was_lost_is_saved_and_no_conflict(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with Link(valkey_server_shared.url) as link, opened(link.url) as kept:
        checkpoints = RedisCheckpointStore(kept.storage)
        await checkpoints.save("consumer", 1)
        await settled(kept)
        await link.stall("to_client")
        saving = asyncio.create_task(checkpoints.save("consumer", 2, expected_position=1))
        async with opened(valkey_server_shared.url, prefix=kept.storage.options.prefix) as beside:

            async def saved() -> bool:
                found = await RedisCheckpointStore(beside.storage).load("consumer")
                return found is not None and found.position == 2

            await eventually(saved)
        await link.cut()
        await link.restore()

        await saving


async def test_what_cannot_be_found_out_is_told_as_unknown(valkey_server_shared: ValkeyServer) -> None:
    async with Link(valkey_server_shared.url) as link, opened(link.url, recover_timeout_seconds=0.3) as kept:
        await settled(kept)
        await link.stall("to_client")
        appending = asyncio.create_task(kept.log.append(appends("orders-1")))
        async with opened(valkey_server_shared.url, prefix=kept.storage.options.prefix) as beside:
            await eventually(lambda: beside.log.version("orders-1"))
        await link.cut()

        with pytest.raises(CatgaError) as raised:
            await appending

    assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
    assert raised.value.details["outcome"] == "unknown"
