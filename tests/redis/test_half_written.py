"""What makes a script fail is found before it writes: a foreign key, a lost counter, a forbidden command, a count too large."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from catga_core import CatgaError
from catga_core.interfaces import Claimed
from catga_redis.options import COMMIT_MARKER_SECONDS
from catga_redis.stores.checkpoints import RedisCheckpointStore
from catga_redis.stores.dead_letters import RedisDeadLetterStore
from catga_redis.stores.named_values import RedisNamedValueStore
from catga_redis.stores.queue import RedisQueueStore
from catga_redis.stores.snapshots import RedisSnapshotStore
from catga_testing.contracts.stores.records import letter, message, queued, snapshot
from catga_testing.servers import ValkeyServer
from tests.redis.support import Kept, appends, event, opened

pytestmark = pytest.mark.redis

ONE_STREAM = ["s:orders-1", "i:orders-1", "pos", "log"]
OUTBOX = ["ob:seq", "ob:ids", "ob:pending", "ob:ready", "ob:later", "ob:retrying", "ob:sent", "ob:k:key"]
QUEUES = [
    *(
        "q:seq",
        "q:names",
        "q:ids:mails",
        "q:placed:mails",
        "q:ready:mails",
        "q:leased:mails",
        "q:retrying:mails",
    ),
    *("q:scheduled:mails", "q:held:mails", "q:k:5:mails:key"),
]
LETTERS = ["dl", "dl-seq", "dl:m:letter-1"]


async def contents(client: Redis, root: str) -> dict[bytes, bytes | None]:
    """Return everything under a prefix, but for what only says that the storage was started."""
    keys = [key async for key in client.scan_iter(f"{root}*")]
    return {key: await client.dump(key) for key in keys}


async def append_one(kept: Kept) -> None:
    await kept.log.append(appends("orders-1"))


async def append_several(kept: Kept) -> None:
    await kept.log.append(appends("orders-1", event(), event()))


async def add_message(kept: Kept) -> None:
    await kept.outbox.add([message(key="key")])


async def record(kept: Kept) -> None:
    await kept.inbox.record("m-1", "handler")


async def add_letter(kept: Kept) -> None:
    await RedisDeadLetterStore(kept.storage).add(letter("letter-1"))


async def remove_letter(kept: Kept) -> None:
    await RedisDeadLetterStore(kept.storage).remove("letter-1")


async def save_checkpoint(kept: Kept) -> None:
    await RedisCheckpointStore(kept.storage).save("consumer", 5)


async def save_snapshot(kept: Kept) -> None:
    await RedisSnapshotStore(kept.storage).save(snapshot("orders-1", 1))


async def set_value(kept: Kept) -> None:
    await RedisNamedValueStore(kept.storage).set("value", 1)


async def claim(kept: Kept) -> None:
    await kept.idempotency.claim("k", lease=60.0)


async def acquire(kept: Kept) -> None:
    await kept.locks.acquire("l", lease=60.0)


async def lease(kept: Kept) -> None:
    await kept.outbox.lease(limit=10, lease=60.0)


async def add_to_queue(kept: Kept) -> None:
    await RedisQueueStore(kept.storage).add(queued(key="key"), queues=["mails"])


async def lease_from_queue(kept: Kept) -> None:
    await RedisQueueStore(kept.storage).lease({"mails": 10}, lease=60.0)


Write = Callable[[Kept], Awaitable[None]]
WRITES: list[tuple[Write, list[str]]] = [
    (append_one, ONE_STREAM),
    (append_several, ONE_STREAM),
    (add_message, OUTBOX),
    (lease, [*OUTBOX[1:-1], "fence"]),
    (add_to_queue, QUEUES),
    (lease_from_queue, [QUEUES[0], *QUEUES[3:8], "fence"]),
    (record, ["inbox", "inbox:t"]),
    (add_letter, LETTERS),
    (remove_letter, LETTERS[:1]),
    (save_checkpoint, ["cp"]),
    (save_snapshot, ["snap:orders-1"]),
    (set_value, ["nv"]),
    (claim, ["fence", "idem:k"]),
    (acquire, ["fence", "lock:l"]),
]
CASES = [
    pytest.param(write, key, id=f"{write.__name__} {key}")
    for write, keys in WRITES
    for key in keys
]  # fmt: skip
IN_UNITS = [case for case in CASES if case.values[0] not in {claim, acquire, lease, lease_from_queue}]


async def spoil(client: Redis, key: str) -> None:
    """Make a key something that no store keeps there."""
    await client.delete(key)
    await client.set(key, "no number")


@pytest.mark.parametrize(("write", "key"), CASES)
async def test_write_that_meets_a_foreign_key_leaves_everything_as_it_was(
    valkey_server_shared: ValkeyServer, write: Write, key: str
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        await spoil(client, f"{kept.storage.root}{key}")
        before = await contents(client, kept.storage.root)
        with pytest.raises(CatgaError) as raised:
            await write(kept)

        assert await contents(client, kept.storage.root) == before
    assert raised.value.details["outcome"] == "not_written"


@pytest.mark.parametrize(("write", "key"), IN_UNITS)
async def test_unit_of_work_that_meets_a_foreign_key_leaves_everything_as_it_was(
    valkey_server_shared: ValkeyServer, write: Write, key: str
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        before: dict[bytes, bytes | None] = {}
        with pytest.raises(CatgaError) as raised:
            async with kept.storage.unit_of_work() as unit:
                # Everything else is fine, and comes before and after it.
                unit.connection.queue("SET", f"{kept.storage.root}app:first", "1")
                await kept.log.append(appends("another"))
                await write(kept)
                await kept.inbox.record("another", "handler")
                await spoil(client, f"{kept.storage.root}{key}")
                before = await contents(client, kept.storage.root)

        assert await contents(client, kept.storage.root) == before
    assert raised.value.details["outcome"] == "not_written"


@pytest.mark.parametrize("write", [append_one, append_several])
async def test_append_after_the_last_position_was_removed_leaves_everything_as_it_was(
    valkey_server_shared: ValkeyServer, write: Write
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        for _ in range(3):
            await append_one(kept)
        await client.delete(f"{kept.storage.root}pos")
        before = await contents(client, kept.storage.root)
        with pytest.raises(CatgaError) as raised:
            await write(kept)
        with pytest.raises(CatgaError):
            async with kept.storage.unit_of_work():
                await append_one(kept)

        after = await contents(client, kept.storage.root)
        assert {key: value for key, value in after.items() if key in before} == before
    assert raised.value.details["outcome"] == "not_written"


@pytest.mark.parametrize("command", ["INCR", "RPUSH", "XADD"])
async def test_append_that_may_not_give_one_of_its_commands_takes_the_others_back(
    valkey_server: ValkeyServer, command: str
) -> None:
    async with Redis.from_url(valkey_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        async with opened(valkey_server.url.replace("//", "//app:secret@")) as kept:
            await append_one(kept)
            before = await contents(client, kept.storage.root)
            await client.execute_command("ACL", "SETUSER", "app", f"-{command}")
            with pytest.raises(CatgaError, match="lacks permissions") as raised:
                await append_one(kept)

            assert await contents(client, kept.storage.root) == before
    assert raised.value.details["outcome"] == "not_written"


async def test_script_that_ends_in_its_midst_is_told_as_unknown(valkey_server: ValkeyServer) -> None:
    async with Redis.from_url(valkey_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        async with opened(valkey_server.url.replace("//", "//app:secret@")) as kept:
            await client.execute_command("ACL", "SETUSER", "app", "-hset")
            with pytest.raises(CatgaError) as single:
                await claim(kept)
            with pytest.raises(CatgaError) as unit:
                async with kept.storage.unit_of_work():
                    await append_one(kept)

            # Sent again, it is not taken for a unit of work that was committed.
            assert not [key async for key in client.scan_iter(f"{kept.storage.root}tx:*")]
    assert single.value.details["outcome"] == unit.value.details["outcome"] == "unknown"


async def message_is_due(kept: Kept) -> bool:
    return len(await kept.outbox.lease(limit=10, lease=60.0)) > 0


async def letter_is_listed(kept: Kept) -> bool:
    return await RedisDeadLetterStore(kept.storage).count() == 1


async def record_anew(kept: Kept) -> None:
    assert await kept.inbox.record("m-1", "handler")


async def is_pruned(kept: Kept) -> bool:
    return await kept.inbox.prune(older_than=-60.0) == 1


@pytest.mark.parametrize(
    ("write", "is_whole", "command"),
    [
        *((add_message, message_is_due, each) for each in ("INCR", "HSET", "ZADD", "RPUSH")),
        *((add_letter, letter_is_listed, each) for each in ("INCR", "HSET", "ZADD")),
        *((record_anew, is_pruned, each) for each in ("HSET", "ZADD")),
    ],
)
async def test_repetition_of_a_half_written_script_is_written_whole(
    valkey_server: ValkeyServer, write: Write, is_whole: Callable[[Kept], Awaitable[bool]], command: str
) -> None:
    async with Redis.from_url(valkey_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        async with opened(valkey_server.url.replace("//", "//app:secret@")) as kept:
            await client.execute_command("ACL", "SETUSER", "app", f"-{command}")
            with pytest.raises(CatgaError, match="lacks permissions"):
                await write(kept)
            await client.execute_command("ACL", "SETUSER", "app", "+@all")

            await write(kept)

            assert await is_whole(kept)


async def test_unit_of_work_is_recognized_for_longer_than_its_recovery(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        await save_checkpoint(kept)
        [marker] = [key async for key in client.scan_iter(f"{kept.storage.root}tx:*")]

        assert COMMIT_MARKER_SECONDS - 5 < await client.ttl(marker) <= COMMIT_MARKER_SECONDS


Queue = Callable[[Any, str], None]


def far(connection: Any, root: str) -> None:
    for _ in range(9300):
        connection.queue("HINCRBY", f"{root}app:h", "total", 10**15)


def far_down(connection: Any, root: str) -> None:
    for _ in range(9300):
        connection.queue("INCRBY", f"{root}app:n", -(10**15))


def second_field(connection: Any, root: str) -> None:
    connection.queue("HINCRBY", f"{root}app:mixed", "number", 1)
    connection.queue("HINCRBY", f"{root}app:mixed", "text", 1)


@pytest.mark.parametrize("queue", [far, far_down, second_field])
async def test_count_that_would_fail_is_found_before_anything_is_written(
    valkey_server_shared: ValkeyServer, queue: Queue
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        root = kept.storage.root
        await client.hset(f"{root}app:mixed", mapping={"number": "1", "text": "abc"})
        before = await contents(client, root)
        with pytest.raises(CatgaError) as raised:
            async with kept.storage.unit_of_work() as unit:
                unit.connection.queue("SET", f"{root}app:first", "1")
                queue(unit.connection, root)
                await kept.log.append(appends("orders-1"))

        assert await contents(client, root) == before
    assert raised.value.code == "CONFLICT"


async def test_count_after_a_removal_begins_anew(valkey_server_shared: ValkeyServer) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        key = f"{kept.storage.root}app:n"
        await client.set(key, "no number")
        async with kept.storage.unit_of_work() as unit:
            unit.connection.queue("DEL", key)
            unit.connection.queue("INCRBY", key, 3)

        assert await client.get(key) == b"3"


async def test_score_that_is_no_float_is_refused_when_it_is_queued(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with opened(valkey_server_shared.url) as kept, kept.storage.unit_of_work() as unit:
        with pytest.raises(ValueError, match="ZADD takes pairs of a number and a member"):
            unit.connection.queue("ZADD", f"{kept.storage.root}app:z", 10**400, "member")


async def test_key_that_the_user_may_not_write_is_found_before_anything_is_written(
    valkey_server: ValkeyServer,
) -> None:
    async with Redis.from_url(valkey_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~{mine}:*", "&*", "+@all")
        async with opened(valkey_server.url.replace("//", "//app:secret@"), prefix="mine") as kept:
            with pytest.raises(CatgaError, match="may not give SET with the key 'elsewhere'"):
                async with kept.storage.unit_of_work() as unit:
                    await kept.log.append(appends("orders-1"))
                    unit.connection.queue("SET", "elsewhere", "1")

            assert await kept.log.version("orders-1") == 0


async def test_claim_survives_beside_a_foreign_key_of_another_store(
    valkey_server_shared: ValkeyServer,
) -> None:
    async with opened(valkey_server_shared.url) as kept, Redis.from_url(valkey_server_shared.url) as client:
        await spoil(client, f"{kept.storage.root}log")

        assert isinstance(await kept.idempotency.claim("k", lease=60.0), Claimed)
