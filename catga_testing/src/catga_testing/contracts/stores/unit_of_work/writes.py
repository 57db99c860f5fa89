"""One write of each kind that joins a unit of work, and how to tell whether it is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from catga_core.interfaces import Claimed, LeasedMessage, Stores
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
    log = present(stores.event_log, "event_log")
    given = [appends("kit-a"), appends("kit-b")]

    async def there(seen: Stores) -> bool:
        found = await present(seen.event_log, "event_log").read_all(after=0, limit=10)
        assert len(found) in {0, 2}
        return bool(found)

    return Write(lambda: log.append(given), there)


async def add_to_outbox(stores: Stores) -> Write:
    """Add a message to the outbox."""
    outbox = present(stores.outbox, "outbox")
    given = message()

    async def there(seen: Stores) -> bool:
        return (await present(seen.outbox, "outbox").stats()).pending == 1

    return Write(lambda: outbox.add([given]), there)


async def discard_from_outbox(stores: Stores) -> Write:
    """Take a message that is leased out of the outbox."""
    outbox = present(stores.outbox, "outbox")
    await outbox.add([message()])
    leased: list[LeasedMessage] = await outbox.lease(limit=1, lease=3600)

    async def there(seen: Stores) -> bool:
        return (await present(seen.outbox, "outbox").stats()).pending == 0

    return Write(lambda: outbox.discard(leased[0]), there)


async def record_in_inbox(stores: Stores) -> Write:
    """Note that a handler has had a message."""
    inbox = present(stores.inbox, "inbox")

    async def there(seen: Stores) -> bool:
        return await present(seen.inbox, "inbox").seen("m-1", "SendEmail")

    return Write(lambda: inbox.record("m-1", "SendEmail"), there)


async def save_checkpoint(stores: Stores) -> Write:
    """Save a checkpoint over an older one."""
    checkpoints = present(stores.checkpoints, "checkpoints")
    await checkpoints.save("totals", 3)

    async def there(seen: Stores) -> bool:
        found = await present(seen.checkpoints, "checkpoints").load("totals")
        assert found is not None
        return found.position == 7

    return Write(lambda: checkpoints.save("totals", 7), there)


async def delete_checkpoint(stores: Stores) -> Write:
    """Remove a checkpoint."""
    checkpoints = present(stores.checkpoints, "checkpoints")
    await checkpoints.save("gone", 3)

    async def there(seen: Stores) -> bool:
        return await present(seen.checkpoints, "checkpoints").load("gone") is None

    return Write(lambda: checkpoints.delete("gone"), there)


async def save_snapshot(stores: Stores) -> Write:
    """Keep a snapshot in the place of an older one."""
    snapshots = present(stores.snapshots, "snapshots")
    await snapshots.save(snapshot("kit-a", 1))

    async def there(seen: Stores) -> bool:
        found = await present(seen.snapshots, "snapshots").load("kit-a", "Order", schema_version=1)
        assert found is not None
        return found.version == 2

    return Write(lambda: snapshots.save(snapshot("kit-a", 2)), there)


async def add_dead_letter(stores: Stores) -> Write:
    """Keep a dead letter."""
    letters = present(stores.dead_letters, "dead_letters")
    given = letter("l-1")

    async def there(seen: Stores) -> bool:
        return await present(seen.dead_letters, "dead_letters").get("l-1") is not None

    return Write(lambda: letters.add(given), there)


async def remove_dead_letter(stores: Stores) -> Write:
    """Remove a dead letter."""
    letters = present(stores.dead_letters, "dead_letters")
    await letters.add(letter("l-2"))

    async def there(seen: Stores) -> bool:
        return await present(seen.dead_letters, "dead_letters").get("l-2") is None

    return Write(lambda: letters.remove("l-2"), there)


async def complete_claim(stores: Stores) -> Write:
    """Record the result of a claim."""
    idempotency = present(stores.idempotency, "idempotency")
    claim = await idempotency.claim("charge-1", lease=3600)
    assert isinstance(claim, Claimed)

    async def there(seen: Stores) -> bool:
        return await present(seen.idempotency, "idempotency").wait("charge-1", timeout=0) is not None

    return Write(lambda: idempotency.complete(claim, b"charged", ttl=3600), there)


WRITES: dict[str, Prepare] = {
    "event_log.append": append,
    "outbox.add": add_to_outbox,
    "outbox.discard": discard_from_outbox,
    "inbox.record": record_in_inbox,
    "checkpoints.save": save_checkpoint,
    "checkpoints.delete": delete_checkpoint,
    "snapshots.save": save_snapshot,
    "dead_letters.add": add_dead_letter,
    "dead_letters.remove": remove_dead_letter,
    "idempotency.complete": complete_claim,
}
"""Every write that joins a unit of work, by port and method."""


async def prepared(stores: Stores) -> list[Write]:
    """Return one write of each kind that a set of stores has, all of them independent of one another."""
    found: list[Write] = []
    for name, prepare in WRITES.items():
        # Two of the outbox at once would be seen in each other's numbers.
        if name != "outbox.discard" and getattr(stores, name.partition(".")[0]) is not None:
            found.append(await prepare(stores))
    return found
