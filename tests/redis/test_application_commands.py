"""An application's own commands are part of the unit of work, or refused before anything is written."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError, ErrorCode
from catga_testing.servers import ValkeyServer
from tests.redis.support import appends, opened

pytestmark = pytest.mark.redis


async def test_they_are_done_with_everything_else(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        mine = f"{kept.storage.root}app"
        async with kept.storage.unit_of_work() as unit:
            await kept.log.append(appends("orders-1"))
            queue = unit.connection.queue
            queue("HSET", f"{mine}:order", "state", "paid", "lines", 2)
            queue("HINCRBY", f"{mine}:totals", "orders", 1)
            queue("SADD", f"{mine}:open", "1", "2")
            queue("ZADD", f"{mine}:by-time", 1.5, "1")
            queue("RPUSH", f"{mine}:journal", b"\x00\xff")
            queue("SET", f"{mine}:last", "1")
            assert not await client.exists(f"{mine}:order")

        assert await client.hgetall(f"{mine}:order") == {b"state": b"paid", b"lines": b"2"}
        assert await client.hget(f"{mine}:totals", "orders") == b"1"
        assert await client.lrange(f"{mine}:journal", 0, -1) == [b"\x00\xff"]
        assert await client.zscore(f"{mine}:by-time", "1") == 1.5


@pytest.mark.parametrize(
    ("there", "command"),
    [
        (("set", "text"), ("HSET", "field", "value")),
        (("set", "text"), ("INCRBY", 1)),
        (("hset", "list"), ("RPUSH", "value")),
    ],
)
async def test_what_would_fail_is_found_before_anything_is_written(
    valkey_server_shared: ValkeyServer, there: tuple[str, str], command: tuple[str, str | int]
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        key = f"{kept.storage.root}app:{there[1]}"
        if there[0] == "set":
            await client.set(key, "seven")
        else:
            await client.hset(key, "field", "1")

        with pytest.raises(CatgaError) as raised:
            async with kept.storage.unit_of_work() as unit:
                await kept.log.append(appends("orders-1"))
                name, *arguments = command
                unit.connection.queue(str(name), key, *arguments)

        assert raised.value.code == ErrorCode.CONFLICT
        assert await kept.log.head() == 0


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("EVAL", "k", "return 1"), "so it is not taken: use one of SET"),
        (("HSET", "k", "field"), "does not take 1 arguments"),
        (("ZADD", "k", "one", "member"), "pairs of a number and a member"),
        (("INCRBY", "k", "much"), "counts by a whole number"),
        (("SET", "k", True), "takes strings, bytes and numbers"),
        (("DEL", "{t}:s:orders-1"), "is among the stores' own: begin it with {t}:app:"),
    ],
)
async def test_what_may_not_be_queued_is_told_at_once(
    valkey_server_shared: ValkeyServer, command: tuple[str, ...], told: str
) -> None:
    async with opened(valkey_server_shared.url, prefix="t") as kept, kept.storage.unit_of_work() as unit:
        with pytest.raises(ValueError, match=told.replace("{", r"\{")):
            unit.connection.queue(*command)


@pytest.mark.parametrize("name", ["execute", "executemany", "fetch_one", "fetch_all", "hset"])
async def test_what_it_does_not_have_is_told_with_what_to_write(
    valkey_server_shared: ValkeyServer, name: str
) -> None:
    async with opened(valkey_server_shared.url) as kept, kept.storage.unit_of_work() as unit:
        with pytest.raises(AttributeError, match=rf"no '{name}'.* has no SQL .*queue\(\"SET\", key, value\)"):
            getattr(unit.connection, name)
        assert not hasattr(unit.connection, name)
        assert not hasattr(unit.connection, "__deepcopy__")
