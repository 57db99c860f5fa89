"""A projection whose read model is keys of its own in Redis, written with the checkpoint."""

from __future__ import annotations

from redis.asyncio import Redis

import catga_redis.stores  # noqa: F401 - loaded here: imported within a loop, its reading of files would block that
from catga_core import Event, add_catga
from catga_core.event_sourcing.projections import (
    Projection,
    Projections,
    add_projection,
    current_projection,
    project,
)
from catga_core.identifiers import new_id
from catga_core.interfaces import Storage
from catga_core.unit_of_work import connection_of
from catga_redis import RedisConnection, RedisOptions, add_redis_catga
from catga_testing.servers import ValkeyServer

PREFIX = f"projection-{new_id()}"


class Deposited(Event):
    account: str
    amount: int


class Totals(Projection, name="totals"):
    """The projection of the guide."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @project
    async def deposited(self, event: Deposited) -> None:
        await self.queue("HINCRBY", event.account, event.amount)

    async def reset(self) -> None:
        await self.queue("DEL")

    async def remove(self) -> None:
        await self.queue("DEL")

    async def queue(self, command: str, *arguments: str | int) -> None:
        key = f"{{{PREFIX}}}:app:{current_projection().target}"
        async with self.storage.unit_of_work() as uow:
            connection_of(uow, RedisConnection).queue(command, key, *arguments)


async def test_keys_are_written_once_for_each_event_over_restarts_and_a_rebuild(
    valkey_server_shared: ValkeyServer,
) -> None:
    async def totals(target: str) -> object:
        async with Redis.from_url(valkey_server_shared.url) as client:
            return await client.hgetall(f"{{{PREFIX}}}:app:{target}")

    for expected in (42, 84, 126):
        catga = add_catga()
        add_redis_catga(catga, RedisOptions(valkey_server_shared.url, prefix=PREFIX))
        add_projection(catga, Totals)
        async with catga.running() as app:
            await app.event_store.append("account-1", [Deposited("1", 30), Deposited("1", 12)])
            projections = app.get(Projections)
            await projections.caught_up("totals")
            assert await totals(await projections.target("totals")) == {b"1": b"%d" % expected}

            if expected == 126:
                before = await projections.target("totals")
                after = await projections.rebuild("totals", wait=5)
                assert await totals(after) == {b"1": b"126"}
                assert await totals(before) == {}
