"""What the tests of projections and subscriptions have in common: events, a read model in the storage, containers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from catga_core import CatgaApp, CatgaContainer, Clock, Event
from catga_core.interfaces import Snapshot, SnapshotStore
from tests.stores import Place


class Opened(Event):
    account: str


class Deposited(Event):
    account: str
    amount: int


class Poison(Event):
    account: str


class Unasked(Event):
    number: int


class Table:
    """A read model in the container's storage: one document a name, written in the ambient unit of work."""

    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots

    async def get(self, name: str) -> dict[str, Any] | None:
        found = await self._snapshots.load(name, "table", schema_version=1)
        return None if found is None else msgspec.json.decode(found.data, type=dict[str, Any])

    async def put(self, name: str, document: dict[str, Any]) -> None:
        await self._snapshots.save(Snapshot(name, 1, "table", 1, "json", msgspec.json.encode(document), 0))

    async def add(self, name: str, key: str, amount: int) -> None:
        document = await self.get(name) or {}
        document[key] = document.get(key, 0) + amount
        await self.put(name, document)

    async def drop(self, name: str) -> None:
        await self._snapshots.delete(name)


def container_at(place: Place, clock: Clock | None = None) -> CatgaContainer:
    catga = place.container()
    catga.add_singleton(Table)
    if clock is not None:
        catga.add_singleton(Clock, clock, instance=True)
    return catga


def fast(**options: Any) -> Any:
    """Options with short pauses."""
    return {"poll_seconds": 0.05, "retry_delay_seconds": 0.01, "max_retry_delay_seconds": 0.05, **options}


async def deposit(app: CatgaApp, account: str, amount: int = 1, *, times: int = 1) -> int:
    """Append deposits to an account's stream; return the last one's position."""
    result = await app.event_store.append(
        f"account-{account}", [Deposited(account, amount) for _ in range(times)]
    )
    return result.position


async def document(app: CatgaApp, name: str) -> dict[str, Any]:
    return await app.get(Table).get(name) or {}


class Recorder:
    """Keeps what a handler was given, in this process, and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._changed = asyncio.Event()

    def note(self, thing: Any) -> None:
        self.seen.append(thing)
        self._changed.set()

    async def until(self, count: int, *, within: float = 5.0) -> list[Any]:
        async with asyncio.timeout(within):
            while len(self.seen) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.seen
