"""One write of each kind that joins a unit of work, and how to tell whether it is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from catga_core.interfaces import (
    CheckpointStore,
    Claimed,
    DeadLetterStore,
    EventLog,
    IdempotencyStore,
    InboxStore,
    LeasedMessage,
    OutboxStore,
    SnapshotStore,
    Stores,
)
from catga_testing.contracts.stores.base import present
from catga_testing.contracts.stores.records import appends, letter, message, snapshot


class Write(msgspec.Struct, frozen=True):
    """A write and how to see it.

    Parameters:
        done: has it done, by the stores it was made for.
        there: tells whether it was done, as other stores of the place see it.
    """

    done: Callable[[], Awaitable[object]]
    there: Callable[[Stores], Awaitable[bool]]


Prepare = Callable[[Stores], Awaitable[Write]]


async def append(stores: Stores) -> Write:
    """Append to two streams."""
    log = present(stores, EventLog)
    given = [appends("kit-a"), appends("kit-b")]

    async def there(seen: Stores) -> bool:
        found = await present(seen, EventLog).read_all(after=0, limit=10)
        assert len(found) in {0, 2}
        return bool(found)

    return Write(lambda: log.append(given), there)


async def add_to_outbox(stores: Stores) -> Write:
    """Add a message to the outbox."""
    outbox = present(stores, OutboxStore)
    given = message()

    async def there(seen: Stores) -> bool:
        return (await present(seen, OutboxStore).stats()).pending == 1

    return Write(lambda: outbox.add([given]), there)


async def discard_from_outbox(stores: Stores) -> Write:
    """Take a message that is leased out of the outbox."""
    outbox = present(stores, OutboxStore)
    await outbox.add([message()])
    leased: list[LeasedMessage] = await outbox.lease(limit=1, lease=3600)

    async def there(seen: Stores) -> bool:
        return (await present(seen, OutboxStore).stats()).pending == 0

    return Write(lambda: outbox.discard(leased[0]), there)


async def record_in_inbox(stores: Stores) -> Write:
    """Note that a handler has had a message."""
    inbox = present(stores, InboxStore)

    async def there(seen: Stores) -> bool:
        return await present(seen, InboxStore).seen("m-1", "SendEmail")

    return Write(lambda: inbox.record("m-1", "SendEmail"), there)


async def save_checkpoint(stores: Stores) -> Write:
    """Save a checkpoint over an older one."""
    checkpoints = present(stores, CheckpointStore)
    await checkpoints.save("totals", 3)

    async def there(seen: Stores) -> bool:
        found = await present(seen, CheckpointStore).load("totals")
        assert found is not None
        return found.position == 7

    return Write(lambda: checkpoints.save("totals", 7), there)


async def delete_checkpoint(stores: Stores) -> Write:
    """Remove a checkpoint."""
    checkpoints = present(stores, CheckpointStore)
    await checkpoints.save("gone", 3)

    async def there(seen: Stores) -> bool:
        return await present(seen, CheckpointStore).load("gone") is None

    return Write(lambda: checkpoints.delete("gone"), there)


async def save_snapshot(stores: Stores) -> Write:
    """Keep a snapshot in the place of an older one."""
    snapshots = present(stores, SnapshotStore)
    await snapshots.save(snapshot("kit-a", 1))

    async def there(seen: Stores) -> bool:
        found = await present(seen, SnapshotStore).load("kit-a", "Order", schema_version=1)
        assert found is not None
        return found.version == 2

    return Write(lambda: snapshots.save(snapshot("kit-a", 2)), there)


async def add_dead_letter(stores: Stores) -> Write:
    """Keep a dead letter."""
    letters = present(stores, DeadLetterStore)
    given = letter("l-1")

    async def there(seen: Stores) -> bool:
        return await present(seen, DeadLetterStore).get("l-1") is not None

    return Write(lambda: letters.add(given), there)


async def remove_dead_letter(stores: Stores) -> Write:
    """Remove a dead letter."""
    letters = present(stores, DeadLetterStore)
    await letters.add(letter("l-2"))

    async def there(seen: Stores) -> bool:
        return await present(seen, DeadLetterStore).get("l-2") is None

    return Write(lambda: letters.remove("l-2"), there)


async def complete_claim(stores: Stores) -> Write:
    """Record the result of a claim."""
    idempotency = present(stores, IdempotencyStore)
    claim = await idempotency.claim("charge-1", lease=3600)
    assert isinstance(claim, Claimed)

    async def there(seen: Stores) -> bool:
        return await present(seen, IdempotencyStore).wait("charge-1", timeout=0) is not None

    return Write(lambda: idempotency.complete(claim, b"charged", ttl=3600), there)


WRITES: dict[str, tuple[Any, Prepare]] = {
    "event_log.append": (EventLog, append),
    "outbox.add": (OutboxStore, add_to_outbox),
    "outbox.discard": (OutboxStore, discard_from_outbox),
    "inbox.record": (InboxStore, record_in_inbox),
    "checkpoints.save": (CheckpointStore, save_checkpoint),
    "checkpoints.delete": (CheckpointStore, delete_checkpoint),
    "snapshots.save": (SnapshotStore, save_snapshot),
    "dead_letters.add": (DeadLetterStore, add_dead_letter),
    "dead_letters.remove": (DeadLetterStore, remove_dead_letter),
    "idempotency.complete": (IdempotencyStore, complete_claim),
}
"""Every write that joins a unit of work, by store and method: the port, and what prepares the write."""


async def prepared_write(kind: str, stores: Stores) -> Write:
    """Return the write of one kind.

    Args:
        kind: one of `WRITES`.
        stores: the stores that write.
    """
    return await WRITES[kind][1](stores)


async def prepared(stores: Stores) -> list[Write]:
    """Return one write of each kind that a set of stores has, all of them independent of one another."""
    found: list[Write] = []
    for name, (port, prepare) in WRITES.items():
        # Two of the outbox at once would be seen in each other's numbers.
        if name != "outbox.discard" and port in stores:
            found.append(await prepare(stores))
    return found
