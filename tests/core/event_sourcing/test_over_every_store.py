"""Aggregates keep their promises wherever their streams and snapshots are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from catga_core import CatgaApp, CatgaContainer, CatgaError, ErrorCode, Event
from catga_core.event_sourcing import Aggregate, AggregateRepository, add_aggregate, apply, every
from catga_core.interfaces import SnapshotStore
from tests.stores import Place


class Deposited(Event):
    amount: int


@dataclass
class Account(Aggregate):
    balance: int = 0
    seen: list[int] = field(default_factory=list)

    def deposit(self, amount: int) -> None:
        self.raise_event(Deposited(amount))

    @apply
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.seen.append(event.amount)


def container_at(place: Place, *, every_n: int | None = None) -> CatgaContainer:
    catga = place.container()
    add_aggregate(catga, Account, snapshots=None if every_n is None else every(every_n), keep=9)
    return catga


def accounts_of(app: CatgaApp) -> AggregateRepository[Account]:
    return app.get(AggregateRepository[Account])


async def opened(app: CatgaApp, *amounts: int) -> Account:
    account = Account("1")
    for amount in amounts:
        account.deposit(amount)
    await accounts_of(app).save(account)
    return account


async def test_updates_of_two_containers_at_once_all_happen_once(place: Place) -> None:
    async with container_at(place).running() as one, container_at(place).running() as other:
        await opened(one, 0)
        updates = [
            accounts_of(app).update("1", lambda account: account.deposit(1), attempts=100)
            for app in (one, other) * 8
        ]
        await asyncio.gather(*updates)
        for app in (one, other):
            assert (await accounts_of(app).load("1")).balance == 16


async def test_one_container_goes_on_from_the_snapshot_of_another(place: Place) -> None:
    async with (
        container_at(place, every_n=3).running() as one,
        container_at(place, every_n=3).running() as other,
    ):
        await opened(one, 1, 2, 3)
        await accounts_of(other).update("1", lambda account: account.deposit(4))
        loaded = await accounts_of(other).load("1")
        assert (loaded.seen, loaded.version) == ([1, 2, 3, 4], 4)
        assert accounts_of(other).snapshot_counts.used == 2
        assert accounts_of(other).snapshot_counts.ignored == 0


async def test_a_long_stream_is_loaded_whole(place: Place) -> None:
    async with container_at(place).running() as app:
        await opened(app, *range(1300))
        loaded = await accounts_of(app).load("1")
        assert (loaded.seen, loaded.version) == (list(range(1300)), 1300)
        assert (await accounts_of(app).state_at("1", 600)).seen == list(range(600))


async def test_events_and_snapshot_are_rolled_back_together(place: Place) -> None:
    catga = container_at(place, every_n=2)
    async with catga.running() as app:
        account = await opened(app, 1)
        with pytest.raises(ZeroDivisionError):
            async with catga.unit_of_work():
                account.deposit(2)
                await accounts_of(app).save(account)
                raise ZeroDivisionError
        assert await app.get(SnapshotStore).load("account-1", "Account", schema_version=1) is None
        await accounts_of(app).update("1", lambda account: account.deposit(7))
        assert (await accounts_of(app).load("1")).seen == [1, 7]
        assert accounts_of(app).snapshot_counts.failed == 0


async def test_an_aggregate_is_saved_more_than_once_in_a_unit_of_work(place: Place) -> None:
    catga = container_at(place, every_n=2)
    async with catga.running() as app:
        async with catga.unit_of_work():
            account = await opened(app, 1)
            account.deposit(2)
            await accounts_of(app).save(account)
            account.deposit(3)
            await accounts_of(app).save(account)
        loaded = await accounts_of(app).load("1")
        assert (loaded.seen, loaded.version) == ([1, 2, 3], 3)
        assert accounts_of(app).snapshot_counts.ignored == 0


async def test_what_was_saved_in_a_unit_of_work_that_is_rolled_back_is_still_to_be_saved(
    place: Place,
) -> None:
    catga = container_at(place, every_n=2)
    async with catga.running() as app:
        account = await opened(app, 1)
        account.deposit(2)
        with pytest.raises(ZeroDivisionError):
            async with catga.unit_of_work():
                await accounts_of(app).save(account)
                account.deposit(3)
                await accounts_of(app).save(account)
                account.deposit(4)
                raise ZeroDivisionError
        assert account.version == 1
        assert account.pending_events == (Deposited(2), Deposited(3), Deposited(4))

        async with catga.unit_of_work():
            await accounts_of(app).save(account)
        loaded = await accounts_of(app).load("1")
        assert (loaded.seen, loaded.version, account.version) == ([1, 2, 3, 4], 4, 4)
        assert accounts_of(app).snapshot_counts.ignored == 0


async def test_a_conflict_in_a_unit_of_work_writes_nothing(place: Place) -> None:
    catga = container_at(place)
    async with catga.running() as app:
        await opened(app, 1)
        stale = await accounts_of(app).load("1")
        await accounts_of(app).update("1", lambda account: account.deposit(2))
        other = Account("2")
        other.deposit(5)
        stale.deposit(99)
        with pytest.raises(CatgaError) as caught:
            async with catga.unit_of_work():
                await accounts_of(app).save(other)
                await accounts_of(app).save(stale)
        assert caught.value.code == ErrorCode.CONFLICT
        assert (await accounts_of(app).load("1")).seen == [1, 2]
        assert (await accounts_of(app).load_or_new("2")).version == 0
