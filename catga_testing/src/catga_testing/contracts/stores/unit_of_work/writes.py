"""One write of each kind that joins a unit of work, and how to tell whether it is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import pytest

from catga_core.interfaces import (
    CheckpointStore,
    Claimed,
    DeadLetterStore,
    EventLog,
    IdempotencyStore,
    InboxStore,
    LeasedMessage,
    OutboxStore,
    QueueState,
    QueueStore,
    SnapshotStore,
    Stores,
)
from catga_core.interfaces.port import port_of
from catga_testing.contracts.stores.base import StoresContractBase
from catga_testing.contracts.stores.records import appends, letter, message, queued, snapshot


class Write(msgspec.Struct, frozen=True):
    """A write and how to see it.

    Args:
        done: Writes, by the stores it was prepared for.
        there: Returns whether it was written, as other stores of the place see it.
    """

    done: Callable[[], Awaitable[object]]
    there: Callable[[Stores], Awaitable[bool]]


Prepare = Callable[[Stores], Awaitable[Write]]
"""Prepares one write by a set of stores; the kit of a port lists its own in `writes`, by name."""


async def append(stores: Stores) -> Write:
    """Append to two streams."""
    log = stores[EventLog]
    given = [appends("kit-a"), appends("kit-b")]

    async def there(seen: Stores) -> bool:
        found = await seen[EventLog].read_all(after=0, limit=10)
        assert len(found) in {0, 2}
        return bool(found)

    return Write(lambda: log.append(given), there)


async def add_to_outbox(stores: Stores) -> Write:
    """Add a message to the outbox."""
    outbox = stores[OutboxStore]
    given = message()

    async def there(seen: Stores) -> bool:
        return (await seen[OutboxStore].stats()).pending == 1

    return Write(lambda: outbox.add([given]), there)


async def discard_from_outbox(stores: Stores) -> Write:
    """Take a message that is leased out of the outbox."""
    outbox = stores[OutboxStore]
    await outbox.add([message()])
    leased: list[LeasedMessage] = await outbox.lease(limit=1, lease=3600)

    async def there(seen: Stores) -> bool:
        return (await seen[OutboxStore].stats()).pending == 0

    return Write(lambda: outbox.discard(leased[0]), there)


async def record_in_inbox(stores: Stores) -> Write:
    """Note that a handler has had a message."""
    inbox = stores[InboxStore]

    async def there(seen: Stores) -> bool:
        return await seen[InboxStore].seen("m-1", "SendEmail")

    return Write(lambda: inbox.record("m-1", "SendEmail"), there)


async def save_checkpoint(stores: Stores) -> Write:
    """Save a checkpoint over an older one."""
    checkpoints = stores[CheckpointStore]
    await checkpoints.save("totals", 3)

    async def there(seen: Stores) -> bool:
        found = await seen[CheckpointStore].load("totals")
        assert found is not None
        return found.position == 7

    return Write(lambda: checkpoints.save("totals", 7), there)


async def delete_checkpoint(stores: Stores) -> Write:
    """Remove a checkpoint."""
    checkpoints = stores[CheckpointStore]
    await checkpoints.save("gone", 3)

    async def there(seen: Stores) -> bool:
        return await seen[CheckpointStore].load("gone") is None

    return Write(lambda: checkpoints.delete("gone"), there)


async def save_snapshot(stores: Stores) -> Write:
    """Keep a snapshot in the place of an older one."""
    snapshots = stores[SnapshotStore]
    await snapshots.save(snapshot("kit-a", 1))

    async def there(seen: Stores) -> bool:
        found = await seen[SnapshotStore].load("kit-a", "Order", schema_version=1)
        assert found is not None
        return found.version == 2

    return Write(lambda: snapshots.save(snapshot("kit-a", 2)), there)


async def add_dead_letter(stores: Stores) -> Write:
    """Keep a dead letter."""
    letters = stores[DeadLetterStore]
    given = letter("l-1")

    async def there(seen: Stores) -> bool:
        return await seen[DeadLetterStore].get("l-1") is not None

    return Write(lambda: letters.add(given), there)


async def remove_dead_letter(stores: Stores) -> Write:
    """Remove a dead letter."""
    letters = stores[DeadLetterStore]
    await letters.add(letter("l-2"))

    async def there(seen: Stores) -> bool:
        return await seen[DeadLetterStore].get("l-2") is None

    return Write(lambda: letters.remove("l-2"), there)


async def complete_claim(stores: Stores) -> Write:
    """Record the result of a claim."""
    idempotency = stores[IdempotencyStore]
    claim = await idempotency.claim("charge-1", lease=3600)
    assert isinstance(claim, Claimed)

    async def there(seen: Stores) -> bool:
        return await seen[IdempotencyStore].wait("charge-1", timeout=0) is not None

    return Write(lambda: idempotency.complete(claim, b"charged", ttl=3600), there)


async def add_to_queues(stores: Stores) -> Write:
    """Add a message to two queues."""
    queue = stores[QueueStore]
    given = queued("added", key="k")

    async def there(seen: Stores) -> bool:
        found = [await seen[QueueStore].get(name, "added") for name in ("added-1", "added-2")]
        assert found.count(None) in {0, 2}
        return None not in found

    return Write(lambda: queue.add(given, queues=["added-1", "added-2"]), there)


async def complete_in_queue(stores: Stores) -> Write:
    """Complete a message that another one of its key waits for."""
    queue = stores[QueueStore]
    for name in ("m-1", "m-2"):
        await queue.add(queued(name, key="k"), queues=["completed"])
    leased = await queue.lease({"completed": 1}, lease=3600)

    async def there(seen: Stores) -> bool:
        found = await seen[QueueStore].get("completed", "m-1")
        assert found is not None
        return found.state is QueueState.DONE and found.result == b"42"

    return Write(lambda: queue.complete(leased, result=b"42"), there)


async def discard_from_queue(stores: Stores) -> Write:
    """Take a message out of a queue, and hold its key."""
    queue = stores[QueueStore]
    for name in ("m-1", "m-2"):
        await queue.add(queued(name, key="k"), queues=["discarded"])
    [leased] = await queue.lease({"discarded": 1}, lease=3600)

    async def there(seen: Stores) -> bool:
        found = [await seen[QueueStore].get("discarded", name) for name in ("m-1", "m-2")]
        assert found[1] is not None
        assert (found[0] is None) is (found[1].state is QueueState.HELD)
        return found[0] is None

    return Write(lambda: queue.discard(leased, hold_key=True), there)


async def release_key_of_queue(stores: Stores) -> Write:
    """Give the messages of a held key again."""
    queue = stores[QueueStore]
    for name in ("m-1", "m-2"):
        await queue.add(queued(name, key="k"), queues=["released"])
    [leased] = await queue.lease({"released": 1}, lease=3600)
    await queue.discard(leased, hold_key=True)

    async def there(seen: Stores) -> bool:
        found = await seen[QueueStore].get("released", "m-2")
        assert found is not None
        return found.state is QueueState.READY

    return Write(lambda: queue.release_key("released", "k"), there)


async def cancel_in_queue(stores: Stores) -> Write:
    """Cancel a scheduled message."""
    queue = stores[QueueStore]
    await queue.add(queued("m-1", due_at=4e9), queues=["cancelled"])

    async def there(seen: Stores) -> bool:
        return await seen[QueueStore].get("cancelled", "m-1") is None

    return Write(lambda: queue.cancel("cancelled", "m-1"), there)


# Two of the outbox at once would be seen in each other's numbers.
_ALONE = {"outbox.discard"}


class WritesContractBase(StoresContractBase):
    """Runs a test once for each kind of write that the claimed ports have."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give `kind` each kind of write."""
        super().pytest_generate_tests(metafunc)
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", list(writes_of(self.ports)))


def writes_of(ports: Iterable[Any]) -> dict[str, Prepare]:
    """Return every kind of write that ports have, as their contract kits declare it.

    Args:
        ports: the ports.
    """
    found: dict[str, Prepare] = {}
    for each in ports:
        declared = port_of(each)
        kit = None if declared is None else declared.load_kit()
        found.update(getattr(kit, "writes", {}))
    return found


async def prepared_write(kind: str, stores: Stores) -> Write:
    """Return the write of one kind.

    Args:
        kind: one of `writes_of(stores.ports)`.
        stores: the stores that write.
    """
    return await writes_of(stores.ports)[kind](stores)


async def prepared(stores: Stores) -> list[Write]:
    """Return one write of each kind that a set of stores has, all of them independent of one another."""
    return [await prepare(stores) for prepare in independent(stores.ports).values()]


def independent(ports: Iterable[Any]) -> dict[str, Prepare]:
    """Return the kinds of write that can be prepared together.

    Args:
        ports: the ports.
    """
    return {name: prepare for name, prepare in writes_of(ports).items() if name not in _ALONE}
