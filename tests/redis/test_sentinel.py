"""Behind Sentinels, callers go on with the server that was promoted, and what a replica had is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError, ErrorCode, Event, HealthStatus, add_catga
from catga_core.event_sourcing.subscriptions import Delivery, add_subscription
from catga_redis import RedisOptions, add_redis_catga
from catga_testing.servers import ReservedPort, ValkeySentinels, ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, event, opened
from tests.redis.test_start import unreachable

pytestmark = [pytest.mark.redis, pytest.mark.slow]

# Sentinels take two or three seconds, and on a machine that is busy much longer.
PATIENCE = 60.0


class Counted(Event):
    number: int


@pytest.fixture
async def sentinels() -> AsyncIterator[ValkeySentinels]:
    async with ValkeySentinels() as started:
        yield started


async def ids(kept: Kept) -> list[str]:
    return [each.record.message_id for each in await kept.log.read_all(after=0, limit=10_000)]


async def promoted(server: ValkeyServer) -> None:
    """Return when a server is a primary."""
    async with Redis.from_url(server.url) as client:

        async def is_primary() -> bool:
            return bool((await client.info("replication"))["role"] == "master")

        await eventually(is_primary, within=PATIENCE)


async def test_callers_wait_for_the_promoted_replica_and_go_on(sentinels: ValkeySentinels) -> None:
    async with opened(sentinels.url, recover_timeout_seconds=PATIENCE) as kept:
        enough = asyncio.Event()

        async def write() -> list[str]:
            acknowledged: list[str] = []
            while not over.is_set():
                given = event()
                await kept.log.append(appends("orders-1", given))
                acknowledged.append(given.message_id)
                if len(acknowledged) == 100:
                    enough.set()
            return acknowledged

        over = asyncio.Event()
        writing = asyncio.create_task(write())
        await enough.wait()
        await sentinels.primary.kill()
        await promoted(sentinels.replica)
        # This one can only be answered by the server that was promoted.
        await kept.log.append(appends("orders-2", event("after")))
        over.set()
        acknowledged = await writing

        stored = await ids(kept)
        assert "after" in stored
        assert len(stored) == len(set(stored))
        # Without wait_replicas the primary's last ones may be lost, and none before them.
        lost = [number for number, each in enumerate(acknowledged) if each not in stored]
        assert len(lost) < 10
        assert lost == [lost[0] + number for number in range(len(lost))]
        assert kept.storage.health().status is HealthStatus.HEALTHY


async def test_what_a_replica_has_confirmed_survives_the_loss_of_the_primary(
    sentinels: ValkeySentinels,
) -> None:
    async with opened(
        sentinels.url, wait_replicas=1, wait_timeout_seconds=1.0, recover_timeout_seconds=PATIENCE
    ) as kept:
        acknowledged: list[str] = []
        enough = asyncio.Event()

        async def write(stream: str) -> CatgaError:
            while True:
                given = event()
                try:
                    await kept.log.append(appends(stream, given))
                except CatgaError as error:
                    return error
                acknowledged.append(given.message_id)
                if len(acknowledged) == 300:
                    enough.set()

        writing = [asyncio.create_task(write(f"orders-{number}")) for number in range(8)]
        await enough.wait()
        await sentinels.primary.kill()
        errors = await asyncio.gather(*writing)

        # The promoted one has no replica yet, and says so of what it wrote.
        assert {error.code for error in errors} == {ErrorCode.PERSISTENCE_FAILED}
        assert all("0 of 1 replicas have it" in error.message for error in errors)
        assert all(error.details["outcome"] == "unknown" for error in errors)
        assert set(acknowledged) <= set(await ids(kept))

        # Back as a replica, the former primary confirms again.
        await sentinels.primary.restart()
        again = event("again")
        await eventually(lambda: kept.log.append(appends("orders-1", again)), within=PATIENCE)
        assert (await ids(kept)).count("again") == 1


async def test_a_primary_that_sleeps_through_its_failover_is_left(sentinels: ValkeySentinels) -> None:
    async with opened(sentinels.url, command_timeout_seconds=0.5, recover_timeout_seconds=PATIENCE) as kept:
        await kept.log.append(appends("orders-1", event("before")))
        async with Redis.from_url(sentinels.primary.url) as client:
            assert await client.wait(1, 5000) == 1
        await sentinels.primary.stop()
        # Its caller waits: the promoted server gets it, and then is the only one that has it.
        await kept.log.append(appends("orders-1", event("meanwhile")))
        await sentinels.primary.resume()
        await kept.log.append(appends("orders-1", event("after")))

        async def follows() -> bool:
            async with Redis.from_url(sentinels.primary.url) as client:
                state = await client.info("replication")
                return (state["role"], state.get("master_link_status")) == ("slave", "up")

        await eventually(follows, within=PATIENCE)
        assert await ids(kept) == ["before", "meanwhile", "after"]
        assert await kept.log.version("orders-1") == 3


async def test_without_a_replica_to_promote_a_caller_is_told_in_time(sentinels: ValkeySentinels) -> None:
    async with opened(sentinels.url, recover_timeout_seconds=1.0) as kept:
        await kept.log.head()
        await sentinels.replica.kill()
        await sentinels.primary.kill()

        with pytest.raises(CatgaError) as raised:
            await kept.log.append(appends("orders-1"))
        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        assert raised.value.details["outcome"] in {"not_written", "unknown"}
        assert kept.storage.health().status is HealthStatus.UNHEALTHY


async def test_the_start_names_a_service_that_no_sentinel_knows(sentinels: ValkeySentinels) -> None:
    told = await unreachable(sentinels.url.replace(f"/{sentinels.service}/", "/other/"))

    assert "No master found for 'other'" in told
    assert "correct the URL" in told


async def test_sentinels_that_are_not_there_are_told_without_their_password() -> None:
    with ReservedPort() as port:
        url = f"redis+sentinel://:data-secret@127.0.0.1:{port.number}/catga/0"
        told = await unreachable(url, sentinel_username="me", sentinel_password="their-secret")

    assert f"127.0.0.1:{port.number}" in told
    assert "secret" not in told


async def test_one_sentinel_that_is_there_is_enough(sentinels: ValkeySentinels) -> None:
    await sentinels.sentinels[0].kill()
    await sentinels.sentinels[1].stop()

    async with opened(sentinels.url, connect_timeout_seconds=5.0) as kept:
        assert await kept.log.head() == 0
    await sentinels.sentinels[1].resume()


async def test_consumers_notice_a_failover_that_lost_events(sentinels: ValkeySentinels) -> None:
    """Those behind are handled in order; none is passed over because its position was given before."""
    seen: dict[Delivery, list[int]] = {Delivery.AT_LEAST_ONCE: [], Delivery.EXACTLY_ONCE: []}
    catga = add_catga()
    add_redis_catga(catga, RedisOptions(sentinels.url, recover_timeout_seconds=PATIENCE))

    async def at_least_once(event: Counted) -> None:
        seen[Delivery.AT_LEAST_ONCE].append(event.number)

    async def exactly_once(event: Counted) -> None:
        seen[Delivery.EXACTLY_ONCE].append(event.number)

    for handler, delivery in ((at_least_once, Delivery.AT_LEAST_ONCE), (exactly_once, Delivery.EXACTLY_ONCE)):
        add_subscription(catga, str(delivery.name), handler, delivery=delivery, lease_seconds=3)
    async with catga.running() as app:
        await app.event_store.append("numbers", [Counted(number) for number in range(5)])
        for each in seen:
            await app.subscriptions.caught_up(each.name)
        async with Redis.from_url(sentinels.primary.url) as client:
            assert await client.wait(1, int(PATIENCE * 1000)) == 1
            kept = await app.event_store.log.head()
            # The replica gets nothing more.
            await sentinels.replica.stop()
            await client.client_kill_filter(_type="replica")
            await app.event_store.append("numbers", [Counted(number) for number in range(100, 110)])
            for each in seen:
                await app.subscriptions.caught_up(each.name)
        await sentinels.primary.kill()
        await sentinels.replica.resume()
        await promoted(sentinels.replica)
        await app.event_store.append("numbers", [Counted(number) for number in range(200, 208)])
        assert await app.event_store.log.head() == kept + 8
        for each, numbers in seen.items():
            await app.subscriptions.caught_up(each.name, timeout=PATIENCE)
            assert numbers == [*range(5), *range(100, 110), *range(200, 208)]
            health = app.subscriptions.health(each.name)
            assert health.status is HealthStatus.DEGRADED, health.description
            assert health.details["log_losses"] >= 1
