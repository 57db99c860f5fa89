"""When entries are stored, what a stop and a failing store do, and what each role runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from catga_audit import (
    AuditEntry,
    AuditOptions,
    AuditStore,
    MemoryAuditStore,
    add_audit,
    sqlite_audit_stores,
)

from catga_core import (
    CatgaContainer,
    CatgaOptions,
    Clock,
    Command,
    ConfigurationError,
    HealthStatus,
    add_catga,
)
from catga_core.container import add_stores
from catga_core.errors import PersistenceError
from catga_core.reliability import Pruning
from catga_testing import ManualClock, eventually


class Note(Command[None]):
    pass


async def note(message: Note) -> None:
    del message


class Flaky(MemoryAuditStore):
    """Fails while it is told to, and remembers the sizes of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.batches: list[int] = []

    async def add(self, entries: Sequence[AuditEntry], /) -> None:
        self.batches.append(len(entries))
        if self.fails:
            raise PersistenceError("the disk is full")
        await super().add(entries)


class Slow(MemoryAuditStore):
    """Stores when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def add(self, entries: Sequence[AuditEntry], /) -> None:
        self.entered.set()
        await self.open.wait()
        await super().add(entries)


def noting(store: AuditStore | None = None, clock: Clock | None = None, **options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="noting"))
    catga.add_handlers(note)
    add_audit(catga, AuditOptions(**options))
    catga.add_singleton(Clock, clock or ManualClock())
    if store is not None:
        catga.add_singleton(AuditStore, store)
    return catga


async def send(app: Any, count: int) -> None:
    for _ in range(count):
        assert (await app.mediator.send(Note())).is_success


async def test_entries_are_stored_together_after_the_interval() -> None:
    store, clock = Flaky(), ManualClock()
    async with noting(store, clock, flush_seconds=10).running() as app:
        await send(app, 3)
        assert (store.batches, app.health()["audit"].details["waiting"]) == ([], 3)

        await clock.sleeping()
        await clock.run_for(12)
        await eventually(lambda: store.batches)

        assert store.batches == [3]
        assert app.health()["audit"].details == {"written": 3, "waiting": 0, "lost": 0}


async def test_whole_batch_is_stored_at_once() -> None:
    store = Flaky()
    async with noting(store, batch_size=2).running() as app:
        await send(app, 2)

        await eventually(lambda: store.batches)

        assert store.batches == [2]


async def test_stop_stores_every_entry_in_batches(tmp_path: Path) -> None:
    store = Flaky()
    async with noting(store, batch_size=4).running() as app:
        await send(app, 3)
    assert store.batches == [3]

    file = str(tmp_path / "audit.db")
    async with noting(file=file).running() as app:
        await send(app, 7)
        assert app.health()["audit_storage"].status is HealthStatus.HEALTHY
    async with noting(file=file).running(roles={"admin"}) as app:
        assert len(await app.get(AuditStore).find()) == 7


async def test_store_registered_after_the_feature_is_still_open_at_the_stop(tmp_path: Path) -> None:
    file = str(tmp_path / "audit.db")
    catga = noting()
    add_stores(catga, lambda clock: sqlite_audit_stores(file, clock), [AuditStore], name="later")
    async with catga.running() as app:
        await send(app, 3)
        waiting = app.health()["audit"].details["waiting"]
    async with noting(file=file).running(roles={"admin"}) as app:
        stored = await app.get(AuditStore).find()

    assert (waiting, len(stored)) == (3, 3)


async def test_entries_wait_while_the_store_fails() -> None:
    store, clock = Flaky(), ManualClock()
    store.fails = True
    async with noting(store, clock, batch_size=2).running() as app:
        await send(app, 3)
        await clock.sleeping()
        await eventually(lambda: app.health()["audit_writer"].status is HealthStatus.DEGRADED)
        assert "disk is full" in app.health()["audit_writer"].description
        assert app.health()["audit"].details == {"written": 0, "waiting": 3, "lost": 0}

        store.fails = False
        await clock.run_for(60)
        await eventually(lambda: app.health()["audit_writer"].status is HealthStatus.HEALTHY)

        assert app.health()["audit"].details == {"written": 3, "waiting": 0, "lost": 0}


async def test_stop_without_a_store_reports_lost_entries() -> None:
    store = Flaky()
    catga = noting(store)

    async def work() -> None:
        async with catga.running() as app:
            await send(app, 3)
            store.fails = True

    with pytest.raises(ExceptionGroup) as raised:
        await work()

    assert raised.group_contains(PersistenceError, match="disk is full")
    assert catga.health()["audit"].details["lost"] == 3


async def test_entries_beyond_the_limit_are_counted_as_lost() -> None:
    store = Flaky()
    store.fails = True
    catga = noting(store, batch_size=2, max_waiting=2)
    async with catga.running() as app:
        await send(app, 5)
        health = app.health()["audit"]
        store.fails = False

    assert (health.status, health.details) == (
        HealthStatus.DEGRADED,
        {"written": 0, "waiting": 2, "lost": 3},
    )
    assert len(await store.find()) == 2


@pytest.mark.parametrize("roles", [{"admin"}, {"serve"}])
async def test_process_without_workers_stores_each_entry_at_once(roles: Any) -> None:
    store = Flaky()
    async with noting(store).running(roles=roles) as app:
        await send(app, 2)
        health = app.health()
        assert "audit_writer" not in health
        assert store.batches == [1, 1]

        store.fails = True
        await send(app, 1)
        assert app.health()["audit"].details == {"written": 2, "waiting": 0, "lost": 1}


async def test_message_cancelled_while_its_entry_is_stored_is_audited() -> None:
    store = Slow()
    async with noting(store).running(roles={"admin"}) as app:
        sending = asyncio.create_task(app.mediator.send(Note()))
        await store.entered.wait()
        sending.cancel()
        await asyncio.sleep(0)
        store.open.set()
        await asyncio.wait([sending])

        assert sending.cancelled()
        assert app.health()["audit"].details == {"written": 1, "waiting": 0, "lost": 0}
    assert len(await store.find()) == 1


async def test_old_entries_are_removed() -> None:
    store, clock = Flaky(), ManualClock()
    async with noting(store, clock, batch_size=1, retention_seconds=60).running() as app:
        await send(app, 1)
        await eventually(store.find)
        clock.advance(59)
        assert await app.get(Pruning).prune() == 0
        clock.advance(2)
        assert await app.get(Pruning).prune() == 1
        assert await store.find() == []


async def test_entries_are_kept_without_a_retention_time() -> None:
    async with noting().running() as app:
        with pytest.raises(ConfigurationError):
            app.get(Pruning)


async def test_file_that_cannot_be_opened_is_a_wrong_composition(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 20)
    for name in ("text", "missing/audit.db"):
        with pytest.raises(ConfigurationError, match="cannot be opened"):
            async with noting(file=str(tmp_path / name)).running():
                pass
