"""Operations of several callers in one script: each is done, refused and told as if it was alone."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError
from catga_core.errors import ConflictError, LeaseLostError
from catga_core.interfaces import SagaClaim
from catga_redis.stores.sagas import RedisSagaStore
from catga_testing.contracts.stores.sagas.base import AMPLE, DONE, begun, saga
from catga_testing.servers import ValkeyServer
from tests.redis.support import opened
from tests.redis.test_half_written import spoil

pytestmark = pytest.mark.redis


async def test_concurrent_callers_share_a_script(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as kept, Redis.from_url(valkey_server.url) as client:
        sagas = RedisSagaStore(kept.storage)

        async def run(number: int) -> None:
            claim = await begun(sagas, f"o-{number}")
            await sagas.append(claim, [b"1"], after=0)
            await sagas.release(claim, [b"2"], after=1, pause=DONE)

        await client.config_resetstat()
        await asyncio.gather(*(run(number) for number in range(50)))
        calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]

    # Three for all of them, and what the storage asks by itself.
    assert calls < 15


async def test_refused_operation_leaves_the_others_alone(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        sagas = RedisSagaStore(kept.storage)
        claims = [await begun(sagas, f"o-{number}") for number in range(4)]
        await spoil(client, f"{kept.storage.root}sg:j:o-2")

        answers = await asyncio.gather(
            sagas.append(claims[0], [b"1"], after=0),
            sagas.append(SagaClaim("o-1", 10**9), [b"1"], after=0),
            sagas.append(claims[2], [b"1"], after=0),
            sagas.append(claims[3], [b"2"], after=1),
            sagas.begin(saga("o-0"), lease=AMPLE),
            sagas.begin(saga("o-4"), lease=AMPLE),
            return_exceptions=True,
        )
        entries = [await sagas.read(f"o-{number}") for number in (0, 1, 3)]

    kinds = [type(each) for each in answers[1:4]]
    assert answers[0] is None
    assert (kinds[0], kinds[2]) == (LeaseLostError, ConflictError)
    assert isinstance(answers[2], CatgaError)
    assert answers[2].details["outcome"] == "not_written"
    assert "another program uses keys of this prefix" in answers[2].message
    assert [getattr(each, "created", None) for each in answers[4:]] == [False, True]
    assert [list(each.entries) for each in entries if each is not None] == [[b"1"], [], []]


async def test_cancelled_caller_leaves_the_others_alone(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept:
        sagas = RedisSagaStore(kept.storage)
        beginning = [asyncio.create_task(begun(sagas, f"o-{number}")) for number in range(5)]
        await asyncio.sleep(0)
        beginning[0].cancel()
        beginning[3].cancel()

        answers = await asyncio.gather(*beginning, return_exceptions=True)

        assert [isinstance(each, SagaClaim) for each in answers] == [False, True, True, False, True]
        assert await sagas.get("o-0") is None


async def test_every_caller_has_an_error_of_its_own(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept:
        sagas = RedisSagaStore(kept.storage)
    answers = await asyncio.gather(
        *(begun(sagas, f"o-{number}") for number in range(3)), return_exceptions=True
    )

    assert all(isinstance(each, CatgaError) for each in answers)
    assert len(set(map(id, answers))) == 3
    assert len(set(map(str, answers))) == 1
