"""A storage's life, and what happens when the way to it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from catga_core import CatgaError, ErrorCode, HealthStatus, SystemClock
from catga_core.interfaces import (
    NO_STREAM,
    CheckpointStore,
    Claimed,
    DeadLetterStore,
    EventLog,
    IdempotencyStore,
    InboxStore,
    LockProvider,
    NamedValueStore,
    OutboxStore,
    SnapshotStore,
    StorageCapabilities,
    Stores,
)
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE, SOON
from catga_testing.contracts.stores.base import StoresContractBase, _overridable
from catga_testing.contracts.stores.place import Connection, Place, StoresFactory, turns
from catga_testing.contracts.stores.records import appends, letter, message, records, snapshot
from catga_testing.waiting import eventually


class StorageContract(StoresContractBase):
    """It is started, used and stopped, and says how it is."""

    async def test_capabilities_of_a_storage_are_known_before_its_start(
        self, make_stores: StoresFactory
    ) -> None:
        """They say what is tested, so they may not depend on the weather."""
        storage = make_stores(SystemClock()).storage

        before = storage.capabilities

        assert isinstance(before, StorageCapabilities)
        assert storage.capabilities == before == make_stores(SystemClock()).storage.capabilities

    async def test_a_started_storage_is_healthy_and_says_so_in_words(self, stores: Stores) -> None:
        """At any time, without waiting."""
        health = stores.storage.health()

        assert health.status is HealthStatus.HEALTHY
        assert health.description

    async def test_stopping_a_storage_twice_is_harmless(self, place: Place, stores: Stores) -> None:
        """The container closes what it has made, and the storage is among that."""
        await place.close(stores)

        async with asyncio.timeout(SOON):
            await stores.storage.stop()

        assert stores.storage.health().description

    async def test_a_storage_that_was_never_started_can_be_stopped(self, make_stores: StoresFactory) -> None:
        """A start that fails half way stops what it has made."""
        async with asyncio.timeout(SOON):
            await make_stores(SystemClock()).storage.stop()

    async def test_a_name_without_bytes_is_refused(self, stores: Stores) -> None:
        """A lone surrogate cannot be stored. Nothing is written, and the store goes on."""
        bad = "a\ud800b"
        calls: dict[Any, Callable[[Any, str], Awaitable[Any]]] = {
            EventLog: lambda log, name: log.append([appends(name)]),
            CheckpointStore: lambda checkpoints, name: checkpoints.save(name, 1),
            IdempotencyStore: lambda keys, name: keys.claim(name, lease=60),
            InboxStore: lambda inbox, name: inbox.record(name, "SendEmail"),
            OutboxStore: lambda outbox, name: outbox.add([message(name)]),
            DeadLetterStore: lambda letters, name: letters.add(letter(name)),
            LockProvider: lambda locks, name: locks.acquire(name, lease=60),
            SnapshotStore: lambda snapshots, name: snapshots.save(snapshot(name, 1)),
            NamedValueStore: lambda values, name: values.set(name, 1),
        }
        for port in stores.ports:
            call = calls.get(port)
            if call is not None:
                with pytest.raises(ValueError, match="surrogate"):
                    await call(stores[port], bad)
                await call(stores[port], "good")

    @needs(EventLog)
    async def test_a_stop_finishes_what_was_begun(self, place: Place, stores: Stores) -> None:
        """Every caller is answered or told, and what was acknowledged is there."""
        log = stores[EventLog]
        appending = [asyncio.create_task(log.append([appends(f"orders-{number}")])) for number in range(20)]
        await turns(1)

        await place.close(stores)
        async with asyncio.timeout(SOON):
            outcomes = await asyncio.gather(*appending, return_exceptions=True)

        for each in outcomes:
            assert isinstance(each, list) or (
                isinstance(each, CatgaError) and each.code == ErrorCode.PERSISTENCE_FAILED
            ), each
        if self.capabilities.durable:
            again = (await place.open())[EventLog]
            for number, each in enumerate(outcomes):
                if isinstance(each, list):
                    assert await again.version(f"orders-{number}") == 1


class ConnectionContract(StoresContractBase):
    """What asks meanwhile is told, and afterwards everything works on."""

    @_overridable
    def connection(self) -> Connection:
        """Return the way to the server, which the kit may cut: the fixture every subclass gives."""
        msg = (
            f"{type(self).__name__} gives no connection: write @pytest.fixture def connection(self), returning an object with "
            "the coroutines cut() and mend()"
        )
        raise NotImplementedError(msg)

    @needs(EventLog)
    async def test_without_a_connection_an_append_fails_and_can_be_repeated(
        self, stores: Stores, connection: Connection
    ) -> None:
        """With PERSISTENCE_FAILED, in bounded time; repeating it stores it once."""
        log = stores[EventLog]
        await log.append([appends("before")])
        given = [appends("orders-1", *records(2), expected=NO_STREAM)]
        await connection.cut()

        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(PATIENCE):
                await log.append(given)
        await connection.mend()
        [result] = await eventually(lambda: log.append(given), within=PATIENCE)

        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        assert raised.value.retryable
        assert result.version == 2
        assert await log.version("orders-1") == 2
        assert await log.version("before") == 1

    @needs(IdempotencyStore, LockProvider)
    async def test_without_a_connection_nothing_is_claimed(
        self, stores: Stores, connection: Connection
    ) -> None:
        """Neither a key nor a lock; both are to be had afterwards."""
        idempotency = stores[IdempotencyStore]
        locks = stores[LockProvider]
        await connection.cut()

        for asked in (idempotency.claim("k", lease=1.0), locks.acquire("l", lease=1.0)):
            with pytest.raises(CatgaError) as raised:
                async with asyncio.timeout(PATIENCE):
                    await asked
            assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        await connection.mend()

        await eventually(lambda: locks.acquire("l", lease=1.0), within=PATIENCE)
        assert isinstance(await idempotency.claim("k", lease=1.0), Claimed)

    @needs(EventLog)
    async def test_a_unit_of_work_that_cannot_be_committed_fails(
        self, stores: Stores, connection: Connection
    ) -> None:
        """And tells where even that is not known."""
        log = stores[EventLog]
        await log.append([appends("before")])

        with pytest.raises(CatgaError) as raised:
            async with asyncio.timeout(PATIENCE), stores.storage.unit_of_work():
                await log.append([appends("orders-1")])
                await connection.cut()
        await connection.mend()
        await eventually(lambda: log.version("before"), within=PATIENCE)

        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
        assert await log.version("orders-1") == 0 or raised.value.details["outcome"] == "unknown"

    @needs(EventLog)
    async def test_its_health_tells_of_a_lost_connection(
        self, stores: Stores, connection: Connection
    ) -> None:
        """While it is lost, and no longer."""
        log = stores[EventLog]
        await log.append([appends("before")])
        await connection.cut()
        with pytest.raises(CatgaError):
            async with asyncio.timeout(PATIENCE):
                await log.version("before")

        await eventually(lambda: stores.storage.health().status is not HealthStatus.HEALTHY, within=PATIENCE)
        await connection.mend()

        await eventually(lambda: log.version("before"), within=PATIENCE)
        await eventually(lambda: stores.storage.health().status is HealthStatus.HEALTHY, within=PATIENCE)

    @needs(EventLog)
    async def test_many_callers_without_a_connection_are_told_as_soon_as_one(
        self, stores: Stores, connection: Connection
    ) -> None:
        """The time of one call, not the sum of all; nothing was written."""
        log = stores[EventLog]
        await log.append([appends("before")])
        await connection.cut()

        async with asyncio.timeout(PATIENCE):
            outcomes = await asyncio.gather(
                *(log.append([appends(f"orders-{number}")]) for number in range(1000)), return_exceptions=True
            )
        await connection.mend()

        for each in outcomes:
            assert isinstance(each, CatgaError), each
            assert each.code == ErrorCode.PERSISTENCE_FAILED
        await eventually(lambda: log.version("before"), within=PATIENCE)
        assert await log.head() == 1

    @needs(EventLog)
    async def test_what_callers_are_told_when_the_connection_is_lost_is_true(
        self, stores: Stores, connection: Connection
    ) -> None:
        """Acknowledged writes are there, those reported as not written are not; the others have an unknown outcome."""
        log = stores[EventLog]
        await log.append([appends("before")])
        for round_ in range(3):
            appending = [
                asyncio.create_task(log.append([appends(f"orders-{round_}-{number}")]))
                for number in range(50)
            ]
            await turns(1 + round_)
            await connection.cut()
            async with asyncio.timeout(PATIENCE):
                outcomes = await asyncio.gather(*appending, return_exceptions=True)
            await connection.mend()
            await eventually(lambda: log.version("before"), within=PATIENCE)

            for number, each in enumerate(outcomes):
                reported = each.details["outcome"] if isinstance(each, CatgaError) else each
                there = await log.version(f"orders-{round_}-{number}")
                assert there == 1 or not isinstance(reported, list), reported
                assert there == 0 or reported != "not_written", reported
