"""What only the sagas in Redis promise: a script that runs twice, or that meets a foreign key, does no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError
from catga_core.interfaces import SagaClaim, SagaKind, SagaPause, SagaState, SagaWait
from catga_redis.engine.commands import Sender
from catga_redis.engine.failures import LostError
from catga_redis.engine.scripts import Script
from catga_redis.stores.sagas import RedisSagaStore
from catga_testing.contracts.stores.sagas.base import (
    AMPLE,
    DONE,
    NAME,
    TOPIC,
    begun,
    paused,
    saga,
    signal,
    taken,
)
from catga_testing.servers import ValkeyServer
from tests.redis.support import opened
from tests.redis.test_half_written import contents, spoil

pytestmark = pytest.mark.redis


class Losing:
    """Has every script done, and loses the first answer to each operation."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._known: set[tuple[Any, ...]] = set()
        self.lost: list[str] = []

    @property
    def confirms(self) -> bool:
        return self._sender.confirms

    @property
    def trouble(self) -> str | None:
        return self._sender.trouble

    async def command(self, *parts: Any) -> Any:
        return await self._sender.command(*parts)

    async def script(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        answer = await self._sender.script(script, key, arguments)
        operation = (script.name, *arguments)
        if operation not in self._known:
            self._known.add(operation)
            self.lost.append(script.name)
            raise LostError("cut off")
        return answer


@asynccontextmanager
async def losing(url: str) -> AsyncIterator[tuple[RedisSagaStore, Losing]]:
    async with opened(url) as kept:
        sender = kept.storage.commands.sender
        assert sender is not None
        kept.storage.commands.sender = way = Losing(sender)
        yield RedisSagaStore(kept.storage), way


async def test_saga_goes_on_as_if_no_answer_was_lost(valkey_server_shared: ValkeyServer) -> None:
    async with losing(valkey_server_shared.url) as (sagas, way):
        claim = await begun(sagas, "o-1")
        await sagas.append(claim, [b"1"], after=0)
        await sagas.append(claim, [b"2", b"3"], after=1, state=SagaState.COMPENSATING)
        pause = SagaPause(SagaState.WAITING, waits=(SagaWait(TOPIC),))
        await sagas.release(claim, [b"4"], after=3, pause=pause)
        claimed = await sagas.claim("o-1", lease=AMPLE)
        assert claimed is not None
        await sagas.rewrite(claimed.claim, [b"0"], version=2, data=b"new", state=SagaState.RUNNING)
        renewal = await sagas.renew([claimed.claim], lease=AMPLE)
        await sagas.release(claimed.claim, [b"1"], after=1, pause=pause)
        assert await sagas.signal(signal("m-1"))
        assert await sagas.signal(signal("m-1")) is False
        found = await sagas.read("o-1")

    assert not renewal.lost
    assert found is not None
    assert (list(found.entries), found.record.leased) == ([b"0", b"1"], False)
    assert found.record.due_at is not None
    assert {"begin_saga", "append_saga", "release_saga", "claim_saga", "rewrite_saga", "add_signal"} <= set(
        way.lost
    )


async def test_saga_over_the_limit_begins_once_when_its_answer_is_lost(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with losing(valkey_server_shared.url) as (sagas, _):
        answers = [await sagas.begin(saga(name), lease=AMPLE, most=1) for name in ("a", "b")]
        known = await sagas.begin(saga("b"), lease=AMPLE, most=1)

        assert [(each.created, each.claim is not None) for each in answers] == [(True, True), (True, False)]
        assert (known.created, known.record) == (False, answers[1].record)


async def test_release_whose_answer_is_lost_is_known_after_a_takeover(
    valkey_server_shared: ValkeyServer,
) -> None:
    """Another process has claimed the saga before the script runs again."""
    async with opened(valkey_server_shared.url) as kept:
        sagas = RedisSagaStore(kept.storage)
        claim = await begun(sagas, "o-1")
        pause = SagaPause(SagaState.RUNNING, due_at=1.0)
        await sagas.release(claim, [b"1"], after=0, pause=pause)
        [other] = await taken(sagas)
        await sagas.release(claim, [b"1"], after=0, pause=pause)
        await sagas.append(other.claim, [b"2"], after=1)

        found = await sagas.read("o-1")
        assert found is not None
        assert (list(found.entries), found.record.leased) == ([b"1", b"2"], True)


async def test_pruned_sagas_leave_no_keys(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        sagas = RedisSagaStore(kept.storage)
        await paused(sagas, "o-1", topics=[TOPIC, "other"], parent="p")
        await sagas.signal(signal("m-1"))
        [claimed] = await taken(sagas)
        await sagas.wait_final("o-1", timeout=0)
        await sagas.append(claimed.claim, [b"1"], after=0)
        await sagas.cancel("o-1")
        await sagas.release(claimed.claim, [], after=1, pause=DONE)
        assert await sagas.prune(older_than=-1.0) == 1

        left = {key.decode().partition(":")[2] for key in await contents(client, kept.storage.root)}

    assert left - {"layout"} == {"fence", "sg:pos", f"sg:vs:{NAME}"}


Write = Callable[[RedisSagaStore, SagaClaim], Awaitable[object]]
WAITING = SagaPause(SagaState.WAITING, due_at=1.0, waits=(SagaWait(TOPIC),))
ONE = ["sg:m:o-1", "sg:j:o-1"]
KINDS = [f"sg:due:1:{NAME}", f"sg:run:{NAME}", f"sg:vs:{NAME}", "sg:limits"]
WRITES: dict[str, tuple[Write, list[str]]] = {
    "begin": (
        lambda sagas, _: sagas.begin(saga("o-2"), lease=AMPLE, most=5),
        ["sg:m:o-2", "sg:ids", "fence", *KINDS],
    ),
    "append": (lambda sagas, claim: sagas.append(claim, [b"1"], after=0), ONE),
    "release": (
        lambda sagas, claim: sagas.release(claim, [b"1"], after=0, pause=WAITING),
        [*ONE, *KINDS, f"sg:w:{TOPIC}", "sg:t:o-1", f"sg:gp:{TOPIC}"],
    ),
    "end": (
        lambda sagas, claim: sagas.release(claim, [b"1"], after=0, pause=DONE),
        [*ONE, KINDS[1], KINDS[3], "sg:ended"],
    ),
    "rewrite": (
        lambda sagas, claim: sagas.rewrite(claim, [b"1"], version=2, data=b"", state=SagaState.RUNNING),
        [*ONE, *KINDS],
    ),
    "take": (lambda sagas, _: sagas.take([SagaKind(NAME, 1, 5)], limit=5, lease=AMPLE), ["fence", *KINDS]),
    "claim": (lambda sagas, _: sagas.claim("waiting", lease=AMPLE), ["fence", *KINDS, "sg:t:waiting"]),
    "cancel": (lambda sagas, _: sagas.cancel("waiting"), ["sg:m:waiting", KINDS[0]]),
    "signal": (
        lambda sagas, _: sagas.signal(signal("m-1", "other")),
        ["sg:pos", "sg:gi:other", "sg:gp:other", "sg:gt", "sg:w:other", KINDS[0]],
    ),
}
CASES = [
    pytest.param(write, key, id=f"{name} {key}") for name, (write, keys) in WRITES.items() for key in keys
]
JOINING = [case for case in CASES if not str(case.id).startswith(("take", "claim", "begin fence"))]


@pytest.mark.parametrize(("write", "key"), CASES)
async def test_saga_write_that_meets_a_foreign_key_leaves_everything_as_it_was(
    valkey_server_shared: ValkeyServer, write: Write, key: str
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        sagas = RedisSagaStore(kept.storage)
        claim = await begun(sagas, "o-1")
        await paused(sagas, "waiting", topics=["other"])
        await spoil(client, f"{kept.storage.root}{key}")
        before = await contents(client, kept.storage.root)
        with pytest.raises(CatgaError) as raised:
            await write(sagas, claim)

        assert await contents(client, kept.storage.root) == before
    assert raised.value.details["outcome"] == "not_written"


@pytest.mark.parametrize(("write", "key"), JOINING)
async def test_unit_of_work_with_sagas_that_meets_a_foreign_key_leaves_everything_as_it_was(
    valkey_server_shared: ValkeyServer, write: Write, key: str
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        sagas = RedisSagaStore(kept.storage)
        claim = await begun(sagas, "o-1")
        await paused(sagas, "waiting", topics=["other"])
        before: dict[bytes, bytes | None] = {}
        with pytest.raises(CatgaError) as raised:
            async with kept.storage.unit_of_work():
                await kept.inbox.record("first", "handler")
                await write(sagas, claim)
                await spoil(client, f"{kept.storage.root}{key}")
                before = await contents(client, kept.storage.root)

        assert await contents(client, kept.storage.root) == before
    assert raised.value.details["outcome"] == "not_written"
